import t from 'tap';
import { FairQueue } from '../../../src/access/edge/fair-queue.ts';

/** Work that ends when it is told, and the order in which pieces began. */
function workshop(queue: FairQueue) {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const results: (Promise<string> | undefined)[] = [];
  return {
    begun,
    results,
    bring: (key: string, name: string) => {
      const work = async (): Promise<string> => {
        begun.push(name);
        await new Promise<void>((resolve) => ends.push(resolve));
        return name;
      };
      const result = queue.run(key, work);
      results.push(result);
      return result;
    },
    /** Ends the piece that runs longest, and lets the next begin. */
    end: async () => {
      ends.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

void t.test('keys take turns, however much one of them brings', async (t) => {
  const queue = new FairQueue({ atOnce: 1, perKey: 5, total: 100 });
  const { bring, begun, end, results } = workshop(queue);
  for (let at = 0; at < 6; at += 1) void bring('flood', `flood ${at}`);
  t.equal(bring('flood', 'one too many'), undefined, 'no place for more of that key');
  void bring('good', 'good');
  t.equal(queue.waiting, 6);
  for (let at = 0; at < 7; at += 1) await end();
  t.same(begun, ['flood 0', 'flood 1', 'good', 'flood 2', 'flood 3', 'flood 4', 'flood 5']);
  t.equal(queue.waiting, 0);
  t.same(await Promise.all(results.flatMap((result) => result ?? [])), [
    'flood 0',
    'flood 1',
    'flood 2',
    'flood 3',
    'flood 4',
    'flood 5',
    'good',
  ]);
});

void t.test('never more at once, and bounded in all', async (t) => {
  const queue = new FairQueue({ atOnce: 2, perKey: 100, total: 3 });
  const { bring, begun, end } = workshop(queue);
  for (let at = 0; at < 5; at += 1) t.ok(bring(`key ${at}`, `${at}`));
  t.equal(bring('late', 'late'), undefined);
  t.equal(begun.length, 2);
  const handed = end();
  t.ok(
    bring('newcomer', 'newcomer') === undefined || begun.length <= 3,
    'a slot is handed on, not raced for',
  );
  await handed;
  t.equal(begun.length, 3);
  for (let at = 0; at < 8; at += 1) await end();
});

void t.test('work that fails gives its slot back', async (t) => {
  const queue = new FairQueue({ atOnce: 1, perKey: 1, total: 1 });
  await t.rejects(queue.run('key', () => Promise.reject(new Error('no'))) ?? Promise.resolve(), /no/);
  t.equal(await queue.run('key', async () => 'yes'), 'yes');
});
