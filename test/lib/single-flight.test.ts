import t from 'tap';
import { SingleFlight } from '../../src/lib/single-flight.ts';

void t.test('all who ask while it runs share one run', async (t) => {
  const flight = new SingleFlight<string, number>();
  const gate = Promise.withResolvers<number>();
  let runs = 0;
  const work = (): Promise<number> => {
    runs += 1;
    return gate.promise;
  };
  const asked = Array.from({ length: 100 }, () => flight.run('a', work));
  t.equal(flight.size, 1);
  t.equal(runs, 1);
  const other = flight.run('b', () => Promise.resolve(2));
  t.equal(flight.size, 2, 'keys do not wait for each other');
  t.equal(await other, 2);
  gate.resolve(1);
  t.strictSame(
    await Promise.all(asked),
    Array.from({ length: 100 }, () => 1),
  );
  t.equal(flight.size, 0);
});

void t.test('forgets after the end, good or bad', async (t) => {
  const flight = new SingleFlight<string, number>();
  t.equal(await flight.run('a', () => Promise.resolve(1)), 1);
  t.equal(await flight.run('a', () => Promise.resolve(2)), 2);
  const failure = new Error('broken');
  const gate = Promise.withResolvers<number>();
  const failing = [flight.run('a', () => gate.promise), flight.run('a', () => Promise.resolve(9))];
  gate.reject(failure);
  const results = await Promise.allSettled(failing);
  for (const result of results) t.match(result, { status: 'rejected', reason: failure });
  t.equal(flight.size, 0);
  t.equal(await flight.run('a', () => Promise.resolve(3)), 3);
  t.throws(() =>
    flight.run('a', () => {
      throw failure;
    }),
  );
  t.equal(flight.size, 0, 'work that throws before it runs leaves nothing');
});

void t.test('what is forgotten is asked anew, and goes on for those who wait', async (t) => {
  const flight = new SingleFlight<string, string>();
  const gates = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  const ask = (which: number): Promise<string> =>
    flight.run('a', () => gates[which]?.promise ?? Promise.resolve('none'));
  const before = ask(0);
  flight.forget('a');
  const after = ask(1);
  t.not(before, after);
  gates[0]?.reject(new Error('broken'));
  await t.rejects(before, /broken/);
  t.equal(ask(1), after, 'its end does not end the new one');
  gates[1]?.resolve('new');
  t.equal(await after, 'new');
  t.equal(flight.size, 0);
  flight.forget('a');
});
