import { serveKeeper } from '../../src/cluster/worker-channel.ts';
import { WorkerMetrics } from '../../src/observe/metrics.ts';

/** What a worker of `supervisor.test.ts` does. */
export interface Script {
  readonly at: 'serve' | 'crash' | 'fail';
  /** Requests it claims to have answered. */
  readonly counted?: number;
  /** The same, from the moment that it gets these settings in place of others. */
  readonly countedAtReload?: number;
  /** What it does when it gets other settings than these. */
  readonly reload?: 'refuse' | 'hang';
  /** It does not answer a scrape. */
  readonly mute?: boolean;
}

const metrics = new WorkerMetrics('scripted');
let script: Script | undefined;

serveKeeper<Script>({
  start: async (settings) => {
    script = settings;
    if (settings.at === 'crash') process.exit(7);
    if (settings.at === 'fail') throw Object.assign(new Error('no such port'), { code: 'EADDRINUSE' });
    metrics.servedBytes.inc(settings.counted ?? 0);
  },
  event: () => undefined,
  reload: async (settings) => {
    if (script?.reload === 'refuse') throw new Error('not these');
    if (script?.reload === 'hang') await new Promise(() => undefined);
    metrics.servedBytes.inc(settings.countedAtReload ?? 0);
    script = settings;
  },
  snapshot: () => (script?.mute === true ? new Promise(() => undefined) : metrics.snapshot()),
  drain: async () => undefined,
});
