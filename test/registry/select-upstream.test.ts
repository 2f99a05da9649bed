import * as fc from 'fast-check';
import t from 'tap';
import { ERROR_CODES, RegistryError } from '../../src/oci/error-codes.ts';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';
import { selectUpstream, type UpstreamNames } from '../../src/registry/select-upstream.ts';

const HUB: UpstreamNames = { name: 'docker.io', hosts: [], default: true, officialNamespace: 'library' };
const GHCR: UpstreamNames = {
  name: 'ghcr.io',
  hosts: ['ghcr.corp', 'edge.corp:8443', '[::1]:5000'],
  default: false,
  officialNamespace: undefined,
};
const CENTRAL: UpstreamNames = { name: 'central', hosts: [], default: false, officialNamespace: undefined };
const ALL = [HUB, GHCR, CENTRAL];

interface Asked {
  readonly namespace?: string;
  readonly host?: string;
  readonly upstreams?: readonly UpstreamNames[];
}

function select(text: string, { namespace, host, upstreams = ALL }: Asked = {}): string {
  const name = parseRepositoryName(text);
  if (name === undefined) throw new Error(`${text} is no name`);
  try {
    const found = selectUpstream(upstreams, { name, namespace, host });
    return `${found.upstream} ${found.name}`;
  } catch (error) {
    if (error instanceof RegistryError) return error.code;
    throw error;
  }
}

void t.test('the namespace, else the first component, else the host, else the default', async (t) => {
  const everything = { namespace: 'central', host: 'ghcr.corp' };
  t.equal(select('ghcr.io/org/app', everything), 'central ghcr.io/org/app');
  t.equal(select('ghcr.io/org/app', { host: 'ghcr.corp' }), 'ghcr.io org/app');
  t.equal(select('central/org/app', { host: 'ghcr.corp' }), 'central org/app');
  t.equal(select('org/app', { host: 'ghcr.corp' }), 'ghcr.io org/app');
  t.equal(select('org/app', { host: 'elsewhere' }), 'docker.io org/app');
  t.equal(select('org/app'), 'docker.io org/app');
});

void t.test('an unknown namespace is refused at once', async (t) => {
  t.equal(ERROR_CODES.NAME_UNKNOWN.status, 404);
  for (const namespace of [
    'quay.io',
    '',
    '..',
    'DOCKER.IO',
    'docker.io ',
    '169.254.169.254',
    'docker.io/library',
  ])
    t.equal(select('org/app', { namespace, host: 'ghcr.corp' }), 'NAME_UNKNOWN', namespace);
  t.equal(select('ghcr.io/org/app', { namespace: 'quay.io' }), 'NAME_UNKNOWN');
  t.equal(select('org/app', { upstreams: [GHCR] }), 'NAME_UNKNOWN', 'nor is there a default to fall back to');
  t.equal(select('org/app', { upstreams: [] }), 'NAME_UNKNOWN');
});

void t.test('the upstream’s own name in front is taken off', async (t) => {
  t.equal(select('docker.io/library/alpine', { namespace: 'docker.io' }), 'docker.io library/alpine');
  t.equal(select('docker.io/org/app'), 'docker.io org/app');
  t.equal(select('docker.iot/app'), 'docker.io docker.iot/app', 'a whole component or none');
  t.equal(select('ghcr.io.evil/app'), 'docker.io ghcr.io.evil/app');
  t.equal(select('ghcr.io/ghcr.io/app'), 'ghcr.io ghcr.io/app', 'once');
  t.equal(select('central'), 'docker.io library/central', 'a name alone is a repository');
});

void t.test('official images of Docker Hub', async (t) => {
  t.equal(select('alpine'), 'docker.io library/alpine');
  t.equal(select('docker.io/alpine'), 'docker.io library/alpine');
  t.equal(select('alpine', { namespace: 'docker.io' }), 'docker.io library/alpine');
  t.equal(select('library/alpine'), 'docker.io library/alpine');
  t.equal(select('alpine', { namespace: 'central' }), 'central alpine');
});

void t.test('hosts with and without a port, in any case', async (t) => {
  for (const host of ['ghcr.corp', 'ghcr.corp:5443', 'GHCR.Corp:1', 'edge.corp:8443', '[::1]:5000'])
    t.equal(select('org/app', { host }), 'ghcr.io org/app', host);
  for (const host of [
    'edge.corp',
    'edge.corp:8444',
    'ghcr.corp.evil',
    'x.ghcr.corp',
    '',
    'ghcr.corp:',
    '[::1]',
  ])
    t.equal(select('org/app', { host }), 'docker.io org/app', host);
});

void t.test('only ever a configured upstream, and a name that is one', async () => {
  const word = fc.constantFrom('docker.io', 'ghcr.io', 'central', 'library', 'a', 'quay.io');
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1, maxLength: 4 }),
      fc.option(word, { nil: undefined }),
      fc.option(fc.constantFrom('ghcr.corp', 'ghcr.corp:1', 'other', 'central'), { nil: undefined }),
      fc.shuffledSubarray(ALL),
      (words, namespace, host, upstreams) => {
        const answer = select(words.join('/'), {
          upstreams,
          ...(namespace && { namespace }),
          ...(host && { host }),
        });
        const first = words.length > 1 ? upstreams.find(({ name }) => name === words[0]) : undefined;
        const byHost = host?.startsWith('ghcr.corp')
          ? upstreams.find(({ name }) => name === 'ghcr.io')
          : undefined;
        const expected =
          namespace === undefined
            ? (first ?? byHost ?? upstreams.find(({ default: isDefault }) => isDefault))
            : upstreams.find(({ name }) => name === namespace);
        if (expected === undefined) return answer === 'NAME_UNKNOWN';
        const rest = words.length > 1 && words[0] === expected.name ? words.slice(1) : words;
        const official = expected.officialNamespace !== undefined && rest.length === 1 ? ['library'] : [];
        return answer === `${expected.name} ${[...official, ...rest].join('/')}`;
      },
    ),
    { numRuns: 2000 },
  );
});
