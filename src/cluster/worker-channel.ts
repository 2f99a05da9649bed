import type { KeeperEvent } from '../cache/keeper.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { KeeperMessage, WorkerMessage } from './messages.ts';
import { RemoteKeeper } from './remote-keeper.ts';

/** What a worker process does at the keeper's word. */
export interface WorkerDuties<Settings> {
  /** Resolves when it serves. */
  start(settings: Settings, keeper: RemoteKeeper): Promise<void>;
  event(event: KeeperEvent): void;
  /** Called only once {@link start} is done. Rejects when they cannot be used: the worker is replaced then. */
  reload(settings: Settings): Promise<void>;
  snapshot(): Promise<MetricsSnapshot>;
  /** Resolves when the last request is answered. */
  drain(): Promise<void>;
}

/** The worker's end of the channel. Without a keeper there is nothing to serve: the process ends with it. */
export function serveKeeper<Settings>(duties: WorkerDuties<Settings>): void {
  const channel = process;
  const send = (message: WorkerMessage): void => {
    if (channel.connected) channel.send?.(message, undefined, undefined, () => undefined);
  };
  const keeper = new RemoteKeeper(send);
  const orFail = async (work: () => Promise<unknown>, done: WorkerMessage): Promise<void> => {
    try {
      await work();
      send(done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      send({ type: 'failed', code, message: error instanceof Error ? error.message : String(error) });
    }
  };
  /** Settings apply in the order in which they came, and not before there is something to apply them to. */
  let settled: Promise<void> = Promise.resolve();
  channel.on('message', (message: KeeperMessage<Settings>) => {
    switch (message.type) {
      case 'start':
        settled = orFail(() => duties.start(message.settings, keeper), { type: 'ready' });
        return;
      case 'answer':
        keeper.answered(message.id, message.value);
        return;
      case 'failure':
        keeper.failed(message.id, message.message);
        return;
      case 'event':
        duties.event(message.event);
        return;
      case 'collect':
        void duties.snapshot().then((snapshot) => send({ type: 'metrics', id: message.id, snapshot }));
        return;
      case 'reload':
        settled = settled.then(() =>
          orFail(() => duties.reload(message.settings), { type: 'reloaded', id: message.id }),
        );
        return;
      case 'drain':
        void duties.drain().then(() => process.exit(0));
    }
  });
  channel.on('disconnect', () => process.exit(0));
  // The terminal sends these to the whole group; the keeper decides what they mean.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
}
