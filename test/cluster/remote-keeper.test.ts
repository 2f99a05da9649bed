import t from 'tap';
import type { KeeperEvent } from '../../src/cache/keeper.ts';
import { KeeperHost } from '../../src/cluster/keeper-host.ts';
import type { KeeperMessage, WorkerMessage } from '../../src/cluster/messages.ts';
import { RemoteKeeper } from '../../src/cluster/remote-keeper.ts';
import { openKeeper } from './fixture.ts';
import { keeperConformance, type Connect } from './keeper-conformance.ts';

/** As over a process's channel: what is said is copied, and arrives later, in order. */
function channel<Message>(receive: (message: Message) => void): (message: Message) => void {
  return (message) => {
    const copy = structuredClone(message);
    setImmediate(() => receive(copy));
  };
}

const overMessages: Connect = (core, listener) => {
  const toWorker = channel<KeeperMessage<never>>((message) => {
    if (message.type === 'answer') remote.answered(message.id, message.value);
    if (message.type === 'failure') remote.failed(message.id, message.message);
    if (message.type === 'event') listener(message.event);
  });
  const session = core.connect((event: KeeperEvent) => toWorker({ type: 'event', event }));
  const host = new KeeperHost<never>(session, toWorker);
  const remote = new RemoteKeeper(channel<WorkerMessage>((message) => host.take(message)));
  return remote;
};

void t.test('the keeper in this process', async (t) => {
  await keeperConformance(t, (core, listener) => core.connect(listener));
});

void t.test('the keeper in another process', async (t) => {
  await keeperConformance(t, overMessages);
});

void t.test('an answer that nobody waits for is no harm', async (t) => {
  const sent: WorkerMessage[] = [];
  const remote = new RemoteKeeper((message) => sent.push(message));
  const question = { fillId: 7, restOnly: true };
  const waiting = remote.openBypass(question);
  t.match(sent, [{ type: 'ask', question: 'openBypass', argument: question }]);
  const id = sent[0]?.type === 'ask' ? sent[0].id : 0;
  remote.answered(id + 1, 'for another');
  remote.failed(id + 1, 'for another');
  remote.answered(id, 3);
  remote.failed(id, 'too late');
  t.equal(await waiting, 3);
});

void t.test('the host leaves what is about the worker itself to others', async (t) => {
  const { keeper } = await openKeeper(t);
  const host = new KeeperHost<never>(
    keeper.core.connect(() => undefined),
    () => t.fail('nothing is answered'),
  );
  t.notOk(host.take({ type: 'ready' }));
  t.notOk(host.take({ type: 'failed', code: undefined, message: '' }));
  t.notOk(host.take({ type: 'metrics', id: 1, snapshot: [] }));
  host.close();
});
