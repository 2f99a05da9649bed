import t from 'tap';
import { FIRST_PAGE, type Page } from '../../src/oci/page.ts';
import type { RepositoryRef } from '../../src/oci/repository-ref.ts';
import type { Answer } from '../../src/registry/answer.ts';
import { answerCatalog } from '../../src/registry/catalog.ts';
import type { UpstreamNames } from '../../src/registry/select-upstream.ts';
import { VisibleCatalogs } from '../../src/registry/visible-catalog.ts';
import { image, scene } from '../cache/listings/scene.ts';

const { central, clock, worker } = await scene(t, { asksCatalog: true });
for (const name of ['secret/app', 'team/tools', 'z']) central.addImage(name, 'v1', image);

const CENTRAL: UpstreamNames = {
  name: 'central',
  hosts: [],
  default: true,
  officialNamespace: undefined,
  catalog: true,
};

const catalogs = new VisibleCatalogs(worker, clock);

interface Sees {
  readonly only?: ReadonlySet<string>;
  readonly upstream?: (name: string) => boolean;
  readonly repository?: (repository: RepositoryRef) => boolean;
}

async function askAll(
  upstreams: readonly UpstreamNames[],
  page: Partial<Page> = {},
  sees?: Sees,
): Promise<Answer> {
  const all = (): boolean => true;
  const asked = {
    head: false,
    namespace: undefined,
    host: undefined,
    page: { ...FIRST_PAGE, ...page },
    visible: sees && {
      to: sees,
      only: sees.only,
      upstream: sees.upstream ?? all,
      repository: sees.repository ?? all,
    },
  };
  return await answerCatalog(worker, upstreams, asked, catalogs);
}

async function ask(upstream: Partial<UpstreamNames>, page: Partial<Page> = {}, sees?: Sees): Promise<Answer> {
  return await askAll([{ ...CENTRAL, ...upstream }], page, sees);
}

function namesIn({ body }: Answer): unknown {
  if (body.kind !== 'bytes') return body;
  return (JSON.parse(Buffer.from(body.content).toString()) as { repositories: unknown }).repositories;
}

const NOT_SECRET: Sees = { repository: ({ name }) => !name.startsWith('secret/') };

void t.test('who may not read a repository does not see that it is there', async (t) => {
  const asked: string[] = [];
  const repository = ({ upstream, name }: RepositoryRef): boolean => {
    asked.push(`${upstream} ${name}`);
    return !name.startsWith('secret/');
  };
  t.same(namesIn(await ask({}, {}, { repository })), ['team/app', 'team/tools', 'z']);
  t.same(asked, ['central secret/app', 'central team/app', 'central team/tools', 'central z']);
  t.same(namesIn(await ask({ default: false }, { n: 2 }, NOT_SECRET)), [
    'central/team/app',
    'central/team/tools',
  ]);
  t.same(namesIn(await ask({}, {}, { repository: () => false })), []);
  t.same(namesIn(await ask({}, { n: 0 }, NOT_SECRET)), []);
});

void t.test('nor do pages, their ends or their links tell of it: all is as without it', async (t) => {
  const seen = ['team/app', 'team/tools'];
  const sees: Sees = { repository: ({ name }) => seen.includes(name) };
  for (const [page, names, link] of [
    [{ n: 1 }, ['team/app'], '</v2/_catalog?n=1&last=team%2Fapp>; rel="next"'],
    [{ n: 1, last: 'team/app' }, ['team/tools'], undefined],
    [{ n: 2 }, seen, undefined],
    [{ n: 1000 }, seen, undefined],
    [{ n: 1, last: 'secret/aaa' }, ['team/app'], '</v2/_catalog?n=1&last=team%2Fapp>; rel="next"'],
    [{ n: 1, last: 'secret/app' }, ['team/app'], '</v2/_catalog?n=1&last=team%2Fapp>; rel="next"'],
    [{ n: 1, last: 'y' }, [], undefined],
    [{ n: 1, last: 'zz' }, [], undefined],
    [{ n: 1, cursor: 'last=secret%2Fapp' }, ['team/app'], '</v2/_catalog?n=1&last=team%2Fapp>; rel="next"'],
  ] as const) {
    const answer = await ask({}, page, sees);
    t.same(namesIn(answer), names, JSON.stringify(page));
    t.equal(answer.headers['link'], link, JSON.stringify(page));
  }
});

void t.test(
  'what was judged is kept for a moment, for all who see the same and for nobody else',
  async (t) => {
    let judged = 0;
    const repository = ({ name }: RepositoryRef): boolean => {
      judged += 1;
      return !name.startsWith('secret/');
    };
    const sees: Sees = { repository };
    const both = await Promise.all([ask({}, { n: 1 }, sees), ask({}, { n: 1, last: 'team/app' }, sees)]);
    t.same(both.map(namesIn), [['team/app'], ['team/tools']]);
    t.same(namesIn(await ask({}, { last: 'team/tools' }, sees)), ['z']);
    t.equal(judged, 4, 'each name once');
    t.same(namesIn(await ask({}, {}, { repository: () => true })), [
      'secret/app',
      'team/app',
      'team/tools',
      'z',
    ]);
    t.same(namesIn(await ask({}, {}, { ...sees, upstream: () => true })), ['team/app', 'team/tools', 'z']);
    t.equal(judged, 8, 'another caller');
    await clock.advance(5_000);
    await ask({}, { n: 1 }, sees);
    t.equal(judged, 12);
  },
);

void t.test('a token that is for some names shows those of them that its holder may see', async (t) => {
  const only = new Set(['z', 'team/app', 'secret/app', 'absent', 'y']);
  t.same(namesIn(await ask({}, {}, { ...NOT_SECRET, only })), ['team/app', 'z']);
  const first = await ask({}, { n: 1 }, { ...NOT_SECRET, only });
  t.equal(first.headers['link'], '</v2/_catalog?n=1&last=team%2Fapp>; rel="next"');
  t.same(namesIn(await ask({}, { n: 1, last: 'team/app' }, { ...NOT_SECRET, only })), ['z']);
  const prefixed = new Set(['central/z', 'team/app']);
  t.same(namesIn(await ask({ default: false }, {}, { ...NOT_SECRET, only: prefixed })), ['central/z']);
});

void t.test('an upstream with nothing for the caller is not named', async (t) => {
  const none: UpstreamNames = { ...CENTRAL, name: 'none', default: false };
  const other: UpstreamNames = { ...CENTRAL, name: 'other', default: false };
  // `none` and `other` are not there for the cache: a caller who may see into them is told so when they get there.
  const sees = (...names: string[]): Sees => ({ ...NOT_SECRET, upstream: (name) => names.includes(name) });
  const last = { n: 5, last: 'team/app' };
  const linkOf = async (...names: string[]): Promise<unknown> =>
    (await askAll([CENTRAL, none, other], last, sees(...names))).headers['link'];
  t.equal(await linkOf('central'), undefined);
  t.equal(await linkOf('central', 'other'), '</v2/_catalog?n=5&last=other%2F>; rel="next"');
  t.same(namesIn(await askAll([CENTRAL, none], { last: 'none/' }, sees('central'))), [
    'team/app',
    'team/tools',
    'z',
  ]);
  t.same(namesIn(await askAll([CENTRAL], {}, sees())), []);
});

void t.test('of an upstream that is not the default one, under its name', async (t) => {
  t.same(namesIn(await ask({ name: 'central', default: false })), [
    'central/secret/app',
    'central/team/app',
    'central/team/tools',
    'central/z',
  ]);
  t.same(namesIn(await ask({ default: false }, { last: 'central/team/tools' })), ['central/z']);
  t.same(
    namesIn(await ask({ default: false }, { last: 'elsewhere' })),
    namesIn(await ask({ default: false })),
  );
});

void t.test('off unless it is on', async (t) => {
  for (const catalog of [undefined, false]) {
    const { catalog: _, ...rest } = CENTRAL;
    const upstream = catalog === undefined ? rest : { ...rest, catalog };
    await t.rejects(askAll([upstream]), { code: 'DENIED' });
    await t.rejects(askAll([upstream], {}, NOT_SECRET), { code: 'DENIED' });
  }
});
