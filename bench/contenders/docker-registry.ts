import { writeFile } from 'node:fs/promises';
import { freePort } from '../../test/support/free-port.ts';
import { part } from '../../test/support/parts.ts';
import { portAnswers, startProcess, type RunningProcess } from '../../test/support/processes.ts';
import { TempFolder } from '../../test/support/temp.ts';
import type { Contender, ContenderOptions, Endpoint } from './contender.ts';

/**
 * The reference registry in proxy mode. It has one listener, so there are two of it, one plain and one with TLS, each
 * with a store of its own; only one of them is ever measured at a time. It has no setting for workers: Go uses all cores.
 */
export async function startDockerRegistry(options: ContenderOptions): Promise<Contender> {
  const folder = new TempFolder('bench-registry');
  const started: RunningProcess[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all(started.map((running) => running.stop()));
    await folder.remove();
  };
  const start = async (scheme: 'http' | 'https'): Promise<Endpoint> => {
    const port = await freePort();
    const file = folder.join(`${scheme}.json`);
    await writeFile(file, JSON.stringify(registryConfig(folder.join(scheme), port, scheme, options)));
    const running = await startProcess(part('docker-registry'), ['serve', file], {
      env: { PATH: process.env['PATH'], OTEL_TRACES_EXPORTER: 'none' },
      ready: () => portAnswers(port),
    });
    started.push(running);
    return { url: `${scheme}://127.0.0.1:${port}`, pid: running.pid };
  };
  try {
    const plain = await start('http');
    const secure = await start('https');
    return {
      name: 'docker-registry',
      plain,
      secure,
      lastWords: () => started.map((running) => running.lastWords).join('\n'),
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function registryConfig(
  dir: string,
  port: number,
  scheme: 'http' | 'https',
  options: ContenderOptions,
): object {
  const tls =
    scheme === 'https'
      ? { tls: { certificate: options.certificate.cert, key: options.certificate.key } }
      : {};
  return {
    version: 0.1,
    // A line per request would cost it, and us who read its output, CPU time that nginx does not spend either.
    log: { level: 'error', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: dir, maxthreads: 100 },
      cache: { blobdescriptor: 'inmemory' },
      delete: { enabled: true },
    },
    http: { addr: `127.0.0.1:${port}`, secret: 'not-a-secret', ...tls },
    proxy: { remoteurl: options.upstream },
  };
}
