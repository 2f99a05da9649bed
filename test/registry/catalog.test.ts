import t from 'tap';
import { FIRST_PAGE, type Page } from '../../src/oci/page.ts';
import type { RepositoryRef } from '../../src/oci/repository-ref.ts';
import type { Answer } from '../../src/registry/answer.ts';
import { answerCatalog } from '../../src/registry/catalog.ts';
import type { UpstreamNames } from '../../src/registry/select-upstream.ts';
import { image, scene } from '../cache/listings/scene.ts';

const { central, worker } = await scene(t, { asksCatalog: true });
for (const name of ['secret/app', 'team/tools', 'z']) central.addImage(name, 'v1', image);

const CENTRAL: UpstreamNames = {
  name: 'central',
  hosts: [],
  default: true,
  officialNamespace: undefined,
  catalog: true,
};

async function ask(
  upstream: Partial<UpstreamNames>,
  page: Partial<Page> = {},
  visible = (_: RepositoryRef): boolean => true,
): Promise<Answer> {
  const asked = {
    head: false,
    namespace: undefined,
    host: undefined,
    page: { ...FIRST_PAGE, ...page },
    visible,
  };
  return await answerCatalog(worker, [{ ...CENTRAL, ...upstream }], asked);
}

function namesIn({ body }: Answer): unknown {
  if (body.kind !== 'bytes') return body;
  return (JSON.parse(Buffer.from(body.content).toString()) as { repositories: unknown }).repositories;
}

void t.test('who may not read a repository does not see that it is there', async (t) => {
  const asked: string[] = [];
  const visible = ({ upstream, name }: RepositoryRef): boolean => {
    asked.push(`${upstream} ${name}`);
    return !name.startsWith('secret/');
  };
  t.same(namesIn(await ask({}, {}, visible)), ['team/app', 'team/tools', 'z']);
  t.same(asked, ['central secret/app', 'central team/app', 'central team/tools', 'central z']);
  const first = await ask({}, { n: 1 }, visible);
  t.same(namesIn(first), [], 'a page may be empty');
  t.same(first.headers['link'], '</v2/_catalog?n=1&last=secret%2Fapp>; rel="next"', 'and goes on');
  t.same(namesIn(await ask({ default: false }, { n: 2 }, visible)), ['central/team/app']);
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
    const asked = {
      head: false,
      namespace: undefined,
      host: undefined,
      page: FIRST_PAGE,
      visible: () => true,
    };
    await t.rejects(answerCatalog(worker, [upstream], asked), { code: 'DENIED' });
  }
});
