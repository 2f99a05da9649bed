import * as fc from 'fast-check';
import t from 'tap';
import { bareMediaType, MANIFEST_ACCEPT, manifestKind } from '../../src/oci/media-type.ts';

void t.test('every type that is asked for is known, schema 1 is not', async (t) => {
  const asked = MANIFEST_ACCEPT.split(', ');
  t.equal(asked.length, 5);
  for (const type of asked) t.equal(manifestKind(type), /index|list/.test(type) ? 'index' : 'image', type);
  const unknown = ['', 'application/json', 'application/vnd.docker.distribution.manifest.v1+prettyjws'];
  for (const type of unknown) t.equal(manifestKind(type), undefined, type);
});

void t.test('the bare type has no parameters', async (t) => {
  t.equal(bareMediaType('Application/JSON ; charset=utf-8'), 'application/json');
  t.equal(bareMediaType('application/json'), 'application/json');
  t.equal(bareMediaType(';'), '');
  t.equal(bareMediaType(`${' '.repeat(1 << 20)}a/b`), 'a/b');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const bare = bareMediaType(text);
      return !bare.includes(';') && bareMediaType(bare) === bare;
    }),
  );
});
