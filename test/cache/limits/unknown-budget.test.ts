import t from 'tap';
import { UnknownBudget } from '../../../src/cache/limits/unknown-budget.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const A = '10.0.0.1';

type Answer = { readonly kind: string };

class Scene {
  readonly clock = new FakeClock();
  readonly budget: UnknownBudget;
  asked = 0;

  constructor(perSecond: number) {
    this.budget = new UnknownBudget(this.clock, perSecond);
  }

  ask(key: string, kind: string | Promise<string>, caller = A): Promise<Answer> {
    const question = async (): Promise<Answer> => {
      this.asked += 1;
      return { kind: await kind };
    };
    return this.budget.ask({ caller, key }, question, (answer) => answer.kind === 'unknown');
  }
}

void t.test('so many in vain at once, and so many per second from then on', async (t) => {
  const scene = new Scene(2);
  for (let n = 0; n < 50; n += 1) await scene.ask(`${n}`, 'unknown');
  t.equal(scene.asked, 20);
  t.match(await scene.ask('again', 'unknown'), { kind: 'limited', limit: 'unknown' });
  t.match(await scene.ask('again', 'unknown', '10.0.0.2'), { kind: 'unknown' }, 'another caller');
  await scene.clock.advance(3000);
  scene.asked = 0;
  for (let n = 0; n < 50; n += 1) await scene.ask(`more ${n}`, 'unknown');
  t.equal(scene.asked, 6);
});

void t.test('what there is costs nothing', async (t) => {
  const scene = new Scene(1);
  for (let n = 0; n < 100; n += 1) t.match(await scene.ask(`${n}`, 'manifest'), { kind: 'manifest' });
});

void t.test(
  'guesses made at once are not more than are left; who asks for what there is waits for them',
  async (t) => {
    const scene = new Scene(1);
    const answer = Promise.withResolvers<string>();
    const all = Array.from({ length: 200 }, (_, n) => scene.ask(`${n}`, answer.promise));
    await scene.clock.advance(0);
    t.equal(scene.asked, 10);
    answer.resolve('manifest');
    const kinds = (await Promise.all(all)).map(({ kind }) => kind);
    t.equal(kinds.filter((kind) => kind === 'manifest').length, 10 + 64, 'those who waited for these too');
    t.equal(kinds.filter((kind) => kind === 'limited').length, 200 - 74);
  },
);

void t.test('those who wait behind guesses are told when it is of no use', async (t) => {
  const scene = new Scene(1);
  const answer = Promise.withResolvers<string>();
  const all = Array.from({ length: 30 }, (_, n) => scene.ask(`${n}`, answer.promise));
  answer.resolve('unknown');
  const kinds = (await Promise.all(all)).map(({ kind }) => kind);
  t.equal(scene.asked, 10);
  t.equal(kinds.filter((kind) => kind === 'limited').length, 20);
  t.equal(scene.clock.sleeping, 0);
});

void t.test('the same question of many is one', async (t) => {
  const scene = new Scene(1);
  const answer = Promise.withResolvers<string>();
  const all = Array.from({ length: 100 }, () => scene.ask('same', answer.promise));
  answer.resolve('unknown');
  t.ok((await Promise.all(all)).every(({ kind }) => kind === 'unknown'));
  for (let n = 0; n < 9; n += 1) t.match(await scene.ask(`${n}`, 'unknown'), { kind: 'unknown' });
  t.match(await scene.ask('one too many', 'unknown'), { kind: 'limited' });
  scene.budget.change(2);
  t.match(await scene.ask('one too many', 'unknown'), { kind: 'unknown' }, 'a reload holds at once');
});

void t.test('a question that fails gives its part back', async (t) => {
  const scene = new Scene(1);
  for (let n = 0; n < 30; n += 1)
    await t.rejects(scene.ask(`${n}`, Promise.reject(new Error('broken'))), { message: 'broken' });
});
