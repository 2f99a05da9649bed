import { startEdge } from '../../test/support/edge.ts';
import type { Contender, ContenderOptions } from './contender.ts';

/** Beyond what any load here asks for: nginx has no limit either, and the load comes from one address. */
const NO_LIMIT = 10_000_000;

/** The edge as a user starts it, with its defaults, but for the log (nginx and docker-registry write no access log here) and the rates. */
export async function startPierhead(options: ContenderOptions): Promise<Contender> {
  const { cert, key } = options.certificate;
  const edge = await startEdge({
    workers: options.workers,
    config: {
      tls: { cert, key },
      upstreams: [{ name: 'central', url: options.upstream, default: true }],
      log: { level: 'warn' },
      limits: { requestsPerSecond: NO_LIMIT, burst: NO_LIMIT },
    },
  });
  return {
    name: 'pierhead',
    plain: { url: edge.http, pid: edge.pid },
    secure: { url: edge.https, pid: edge.pid },
    lastWords: () => edge.output.split('\n').slice(-40).join('\n'),
    [Symbol.asyncDispose]: () => edge.remove(),
  };
}
