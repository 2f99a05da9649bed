import * as fc from 'fast-check';
import t from 'tap';
import { bearerChallenge, originOf } from '../../../src/access/edge/challenges.ts';
import { parseRepositoryName } from '../../../src/oci/repository-name.ts';

void t.test('a challenge as docker and containerd read it', async (t) => {
  const name = parseRepositoryName('library/app');
  if (name === undefined) throw new Error('no name');
  const realm = 'https://edge.example/auth/token';
  t.equal(bearerChallenge(realm, undefined), `Bearer realm="${realm}",service="pierhead"`);
  t.equal(
    bearerChallenge(realm, { name, action: 'push' }, 'insufficient_scope'),
    `Bearer realm="${realm}",service="pierhead",scope="repository:library/app:pull,push",error="insufficient_scope"`,
  );
});

void t.test('no Host gets out of its quotes', async (t) => {
  t.equal(originOf(true, 'edge.example:5443'), 'https://edge.example:5443');
  t.equal(originOf(false, '[2001:db8::1]:5000'), 'http://[2001:db8::1]:5000');
  const bad = [
    undefined,
    '',
    'a"b',
    'a b',
    'a,b',
    'a/b',
    'a@b',
    'a\\b',
    'a\r\nb',
    '[::1',
    'a:b',
    'a:123456',
    'ä',
  ];
  for (const host of bad) t.equal(originOf(true, host), undefined, JSON.stringify(host));
  t.equal(originOf(true, 'a'.repeat(261)), undefined);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (host) =>
      /^(?:https:\/\/[\w.:[\]-]+)?$/.test(originOf(true, host) ?? ''),
    ),
  );
});
