import { createHmac } from 'node:crypto';
import * as fc from 'fast-check';
import t from 'tap';
import { AnnouncementSeal } from '../../../src/cache/site/announcement-seal.ts';
import type { Announcement } from '../../../src/cache/site/announcement.ts';
import { SiblingEdges } from '../../../src/cache/site/sibling-edges.ts';
import { ms } from '../../../src/lib/brand.ts';
import { parseTag } from '../../../src/oci/reference.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import type { Teardown } from '../../support/temp.ts';
import { repository } from '../cache-site.ts';
import { MemorySite, type MemoryChannel } from './memory-site.ts';

const KEY = Buffer.alloc(32, 7);
const ALL: Announcement = { kind: 'purge', selector: { kind: 'all' } };
const TAG: Announcement = { kind: 'tag', repository: repository('team/app'), tag: tag('v1') };

function tag(text: string) {
  const parsed = parseTag(text);
  if (parsed === undefined) throw new Error(`not a tag: ${text}`);
  return parsed;
}

interface TestEdge {
  readonly siblings: SiblingEdges;
  readonly channel: MemoryChannel;
  readonly done: string[];
  failNext: boolean;
}

function edgeOf(
  t: Teardown,
  site: MemorySite,
  clock: FakeClock,
  name: string,
  key: Uint8Array = KEY,
): TestEdge {
  const channel = site.channel();
  const done: string[] = [];
  const edge: TestEdge = {
    channel,
    done,
    failNext: false,
    siblings: new SiblingEdges({
      channel,
      key,
      clock,
      name,
      carryOut: async (announcement) => {
        if (edge.failNext) throw new Error('the disk refused');
        done.push(JSON.stringify(announcement));
      },
      missed: async () => void done.push('missed'),
      events: {
        announced: () => undefined,
        carriedOut: () => undefined,
        refused: (why) => void done.push(why),
        failed: (error) => void done.push(`failed: ${(error as Error).message}`),
      },
    }),
  };
  edge.siblings.listen();
  t.teardown(() => edge.siblings.close());
  return edge;
}

async function scene(t: Teardown) {
  const clock = new FakeClock();
  const site = new MemorySite(clock);
  const [a, b] = [edgeOf(t, site, clock, 'a'), edgeOf(t, site, clock, 'b')];
  // What was announced before they listened may have been missed.
  await clock.advance(0);
  for (const edge of [a, b]) edge.done.splice(0);
  return { clock, site, a, b };
}

void t.test('what one announces the others carry out, once, and it itself not', async (t) => {
  const { clock, a, b } = await scene(t);
  await a.siblings.announce(TAG);
  await b.siblings.announce(ALL);
  await clock.advance(0);
  t.same(b.done, [JSON.stringify(TAG)]);
  t.same(a.done, [JSON.stringify(ALL)]);
});

void t.test('listening begins with doubt', async (t) => {
  const clock = new FakeClock();
  const edge = edgeOf(t, new MemorySite(clock), clock, 'a');
  await clock.advance(0);
  t.same(edge.done, ['missed']);
});

void t.test('replays, old ones and ones from the future are not carried out', async (t) => {
  const { clock, site, a, b } = await scene(t);
  await a.siblings.announce(ALL);
  await clock.advance(0);
  const [recorded = Buffer.of()] = site.published;
  b.channel.deliver(recorded);
  await clock.advance(60_001);
  b.channel.deliver(recorded);
  const seal = new AnnouncementSeal(KEY);
  const at = ms(clock.now() + 60_001);
  b.channel.deliver(seal.seal({ from: 'c', sequence: 1, at, announcement: ALL }));
  await clock.advance(0);
  t.same(b.done, [JSON.stringify(ALL), 'replayed', 'out of time', 'out of time']);
});

void t.test('what is not sealed under the site key says nothing', async (t) => {
  const { clock, site, a, b } = await scene(t);
  await edgeOf(t, site, clock, 'stranger', Buffer.alloc(32, 8)).siblings.announce(ALL);
  await clock.advance(0);
  t.same(b.done, ['unreadable']);
  await a.siblings.announce(ALL);
  await clock.advance(0);
  const sealed = Buffer.from(site.published.at(-1) ?? []);
  b.done.splice(0);
  for (let at = 0; at < sealed.byteLength; at += 7) {
    const changed = Buffer.from(sealed);
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
    b.channel.deliver(changed);
    b.channel.deliver(sealed.subarray(0, at));
  }
  b.channel.deliver(Buffer.alloc(100_000));
  await clock.advance(0);
  t.ok(b.done.every((what) => what === 'unreadable'));
});

void t.test('sealed, but not an announcement: refused, whatever it is', async (t) => {
  const { clock, b } = await scene(t);
  const sealed = (text: string): Buffer =>
    Buffer.concat([createHmac('sha256', KEY).update(text).digest(), Buffer.from(text)]);
  const message = (announcement: unknown, more: object = {}): string =>
    JSON.stringify({ version: 1, from: 'x', sequence: 1, at: clock.now(), announcement, ...more });
  for (const text of [
    '',
    '{',
    'null',
    '7',
    message('all'),
    message(null),
    message({ kind: 'everything' }),
    message({ kind: 'all' }),
    message({ kind: 'repository', repository: TAG.repository }),
    message({ kind: 'tag', repository: { upstream: 'central', name: '../..' }, tag: 'v1' }),
    message({ kind: 'tag', repository: TAG.repository, tag: '../v1' }),
    message({ kind: 'purge', selector: { kind: 'tag', repository: TAG.repository } }),
    message(ALL, { version: 2 }),
    message(ALL, { sequence: '1' }),
    message(ALL, { sequence: 1.5 }),
    message(ALL, { at: null }),
    message(ALL, { from: {} }),
  ]) {
    b.channel.deliver(sealed(text));
    await clock.advance(0);
    t.same(b.done.splice(0), ['unreadable'], text);
  }
});

void t.test('anything at all can be delivered', async (t) => {
  const { clock, b } = await scene(t);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => b.channel.deliver(bytes)));
  await clock.advance(0);
  t.ok(b.done.every((what) => what === 'unreadable'));
});

void t.test(
  'what could not be told is told when the way is back, and a missing message is noticed',
  async (t) => {
    const { clock, a, b } = await scene(t);
    await a.siblings.announce(TAG);
    a.channel.connected = false;
    await a.siblings.announce(ALL);
    await clock.advance(10_000);
    t.same(b.done.splice(0), [JSON.stringify(TAG)]);
    a.channel.connected = true;
    await clock.advance(10_000);
    t.same(b.done.splice(0), ['missed', JSON.stringify(ALL)]);
    b.channel.connected = false;
    await a.siblings.announce(TAG);
    b.channel.connected = true;
    await clock.advance(10_000);
    t.same(b.done.splice(0), ['missed'], 'by the next sign of life');
    await clock.advance(100_000);
    t.same(b.done, [], 'signs of life alone change nothing');
  },
);

void t.test('an edge that does not hear itself listens anew', async (t) => {
  const { clock, a, b } = await scene(t);
  await clock.advance(100_000);
  t.equal(b.channel.rejoins, 0);
  b.channel.deliver = () => undefined;
  await clock.advance(100_000);
  t.equal(a.channel.rejoins, 0);
  t.ok(b.channel.rejoins >= 1);
  t.match(b.done, ['missed']);
});

void t.test('one that cannot be carried out does not hold up the next', async (t) => {
  const { clock, a, b } = await scene(t);
  b.failNext = true;
  await a.siblings.announce(ALL);
  await clock.advance(0);
  b.failNext = false;
  await a.siblings.announce(TAG);
  await clock.advance(0);
  t.same(b.done, ['failed: the disk refused', JSON.stringify(TAG)]);
});
