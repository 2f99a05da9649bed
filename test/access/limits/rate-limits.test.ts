import t from 'tap';
import { canonicalAddress } from '../../../src/access/ip-rules.ts';
import { RateLimits } from '../../../src/access/limits/rate-limits.ts';
import { TooManyRequests } from '../../../src/access/refusals.ts';
import type { Usage } from '../../../src/lib/limits/usage.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const A = '10.0.0.1';
const B = '10.0.0.2';

class Scene {
  readonly clock = new FakeClock();
  readonly told: Usage[] = [];
  readonly queued: string[] = [];
  readonly limits: RateLimits;

  constructor(requestsPerSecond: number, burst: number) {
    this.limits = new RateLimits(
      { requestsPerSecond, burst },
      {
        clock: this.clock,
        tell: (usage) => void this.told.push(usage),
        queued: (limit) => void this.queued.push(limit),
      },
    );
  }

  /** What becomes of so many requests at once. */
  arrive(address: string, times: number): { at: number; later: Promise<void>[]; refused: TooManyRequests[] } {
    const came = { at: 0, later: [] as Promise<void>[], refused: [] as TooManyRequests[] };
    for (let n = 0; n < times; n += 1) {
      try {
        const turn = this.limits.arrive(canonicalAddress(address));
        if (turn === undefined) came.at += 1;
        else came.later.push(turn);
      } catch (error) {
        if (!(error instanceof TooManyRequests)) throw error;
        came.refused.push(error);
      }
    }
    return came;
  }
}

void t.test('the burst at once, a little more in turn, a flood is refused', async (t) => {
  const scene = new Scene(10, 5);
  const { at, later, refused } = scene.arrive(A, 100);
  t.equal(at, 5);
  t.equal(later.length, 20, 'what fits into two seconds');
  t.equal(refused.length, 75);
  t.match(refused[0], { code: 'TOOMANYREQUESTS', limit: 'address', retryAfterSeconds: 3 });
  t.equal(scene.queued.length, 20);
  t.equal(scene.limits.waiting, 20);
  let through = 0;
  for (const turn of later) void turn.then(() => (through += 1));
  await scene.clock.advance(1000);
  t.equal(through, 10);
  await scene.clock.advance(1000);
  t.equal(through, 20);
  t.equal(scene.limits.waiting, 0);
  t.equal(scene.arrive(B, 1).at, 1, 'somebody else');
});

void t.test('who hangs up leaves the turn to others', async (t) => {
  const scene = new Scene(1, 1);
  scene.arrive(A, 1);
  const gone = new AbortController();
  const turn = scene.limits.arrive(A, () => gone.signal);
  const failed = t.rejects(turn ?? Promise.resolve(), { code: 'TOOMANYREQUESTS' });
  const second = scene.arrive(A, 2);
  t.equal(second.later.length, 1);
  t.equal(second.refused.length, 1);
  gone.abort();
  await failed;
  t.equal(scene.limits.waiting, 1);
  t.equal(scene.arrive(A, 1).later.length, 1);
});

void t.test('a /64 is one, mapped IPv4 addresses are what they are, and so are users', async (t) => {
  const scene = new Scene(1, 4);
  for (let n = 0; n < 4; n += 1) t.equal(scene.arrive(`2001:db8:1:2:${n}::${n}`, 1).at, 1);
  t.equal(scene.arrive('2001:db8:1:2:ffff:ffff:ffff:ffff', 1).at, 0, 'the same /64');
  t.equal(scene.arrive('2001:db8:1:3::1', 1).at, 1, 'another one');
  t.equal(scene.arrive('::ffff:10.0.0.1', 10).at, 4);
  t.equal(scene.arrive('::ffff:10.0.0.2', 10).at, 4, 'not the same as that one');
  t.equal(scene.arrive('10.0.0.1', 1).at, 0, 'but this is');
  const identity = { user: 'ada', groups: [], by: 'htpasswd' } as const;
  const admit = (address: string) => scene.limits.admit({ address, identity });
  for (const address of ['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4']) t.equal(admit(address), undefined);
  t.ok(admit('10.1.0.5') instanceof Promise, 'a user is one, from wherever they come');
  t.equal(scene.limits.admit({ address: A, identity: undefined }), undefined, 'counted when they came');
});

void t.test('65,000 addresses of one /64 are one key; as many /64s are bounded', async (t) => {
  const scene = new Scene(10, 100);
  for (let n = 0; n < 65_000; n += 1) scene.arrive(`2001:db8::${n.toString(16)}`, 1);
  t.equal(scene.limits.keys, 1);
  for (let n = 0; n < 65_000; n += 1) scene.arrive(`2001:db8:1:${n.toString(16)}::1`, 1);
  t.equal(scene.limits.keys, 20_000);
  await scene.clock.advance(60_000);
  t.equal(scene.limits.keys, 0, 'all have their burst again');
  t.equal(scene.clock.sleeping, 0, 'and nothing runs any more');
});

void t.test('one that floods leaves places in the queue to the others', async (t) => {
  const scene = new Scene(1000, 1);
  t.equal(scene.arrive(A, 3000).later.length, 1024);
  t.equal(scene.arrive(B, 3000).later.length, 512);
  t.ok(scene.arrive('10.0.0.3', 10).later.length === 9, 'one who is slightly over is queued all the same');
  for (let n = 0; n < 40; n += 1) scene.arrive(`10.1.0.${n}`, 3000);
  t.ok(scene.limits.waiting <= 2048, `bounded: ${scene.limits.waiting}`);
});

void t.test('workers that tell each other hold about one rate, each deciding alone', async (t) => {
  const clock = new FakeClock();
  const rate = { requestsPerSecond: 100, burst: 50 };
  const told: [from: number, usage: Usage][] = [];
  const workers = [0, 1, 2].map(
    (n) =>
      new RateLimits(rate, {
        clock,
        queued: () => undefined,
        tell: (usage) => {
          told.push([n, usage]);
          for (const [m, other] of workers.entries()) if (m !== n) other.used(usage, 'workers');
        },
      }),
  );
  let through = 0;
  for (let round = 0; round < 1000; round += 1) {
    for (const worker of workers)
      try {
        void (worker.arrive(A) ?? Promise.resolve()).then(() => (through += 1));
      } catch (error) {
        if (!(error instanceof TooManyRequests)) throw error;
      }
    await clock.advance(10);
  }
  // 10 s: 50 + 1000, and what the others did not know of in the tenth of a second before they were told.
  t.ok(through >= 1000, `${through} went on`);
  t.ok(through <= 1050 + 3 * 50, `${through} went on`);
  t.ok(told.length <= 3 * 100, 'about ten times a second');
  const [, [first] = []] = told[0] ?? [];
  t.equal(first?.[0], A);
});

void t.test('what edges are said to have used holds nobody up for long', async (t) => {
  const scene = new Scene(10, 100);
  scene.limits.used([[A, 1_000_000]], 'edges');
  t.equal(scene.arrive(A, 1).later.length, 1, 'a second and its turn');
  scene.limits.used([[B, 1000]], 'workers');
  t.equal(scene.arrive(B, 1).refused[0]?.retryAfterSeconds, 60, 'what workers say is true');
});

void t.test('a reload is in force at once, and what was used stays used', async (t) => {
  const scene = new Scene(10, 5);
  t.equal(scene.arrive(A, 5).at, 5);
  scene.limits.change({ requestsPerSecond: 10, burst: 8 });
  t.equal(scene.arrive(A, 5).at, 3);
  scene.limits.change({ requestsPerSecond: 1, burst: 1 });
  t.equal(scene.arrive(A, 1).refused.length, 1);
});
