import type { KeeperEvent } from '../cache/keeper.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { KeeperMessage, WorkerMessage } from './messages.ts';
import { RemoteKeeper } from './remote-keeper.ts';

/** What a worker process does at the keeper's word. */
export interface WorkerDuties<Settings> {
  /** Resolves when it serves. */
  start(settings: Settings, keeper: RemoteKeeper): Promise<void>;
  event(event: KeeperEvent): void;
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
  const start = async (settings: Settings): Promise<void> => {
    try {
      await duties.start(settings, keeper);
      send({ type: 'ready' });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      send({ type: 'failed', code, message: error instanceof Error ? error.message : String(error) });
    }
  };
  channel.on('message', (message: KeeperMessage<Settings>) => {
    switch (message.type) {
      case 'start':
        void start(message.settings);
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
        void duties.reload(message.settings);
        return;
      case 'drain':
        void duties.drain().then(() => process.exit(0));
    }
  });
  channel.on('disconnect', () => process.exit(0));
  // The terminal sends these to the whole group; the keeper decides what they mean.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
}
