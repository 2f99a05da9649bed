import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import type { KeeperSession } from '../../../src/cache/keeper-core.ts';
import { FIRST_PAGE } from '../../../src/oci/page.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { createImage } from '../../support/images.ts';
import { CacheSite, digest, reference, repository } from '../cache-site.ts';

/** At once ten times as many. */
const PER_SECOND = 0.2;
const AT_ONCE = 2;
const APP = repository('team/app');
const ADA = { caller: 'user ada' };
const image = createImage({ layers: [3000, 4000] });

async function open(t: Test): Promise<{ central: Central; session: KeeperSession }> {
  const central = await startCentral();
  t.teardown(() => central.stop());
  central.addImage('team/app', 'v1', image);
  const site = await CacheSite.open(t, central, { unknownPerSecond: PER_SECOND });
  return { central, session: site.core.connect(() => undefined) };
}

function randomDigest() {
  return digest(`sha256:${randomBytes(32).toString('hex')}`);
}

void t.test('every kind of question in vain is counted', async (t) => {
  const blobOf = () => ({ repository: APP, digest: randomDigest(), asker: ADA });
  const kinds: Record<string, (session: KeeperSession) => Promise<{ kind: string }>> = {
    tag: (session) =>
      session.manifest({ repository: APP, reference: reference(randomBytes(4).toString('hex')), asker: ADA }),
    digest: (session) =>
      session.manifest({ repository: APP, reference: reference(randomDigest()), asker: ADA }),
    blob: (session) => session.blob(blobOf()),
    'size of a blob': (session) => session.blobSize(blobOf()),
    tags: (session) =>
      session.listing({
        kind: 'tags',
        repository: repository(`team/${randomBytes(4).toString('hex')}`),
        page: FIRST_PAGE,
        asker: ADA,
      }),
    referrers: (session) =>
      session.listing({ kind: 'referrers', ...blobOf(), artifactType: undefined, page: FIRST_PAGE }),
  };
  for (const [name, ask] of Object.entries(kinds)) {
    const { central, session } = await open(t);
    for (let n = 0; n < AT_ONCE; n += 1) t.not((await ask(session)).kind, 'limited', name);
    const asked = central.requests();
    t.match(await ask(session), { kind: 'limited', limit: 'unknown' }, name);
    t.equal(central.requests(), asked, 'and the central is not asked');
  }
});

void t.test(
  'what was heard of, what is known not to be there, and what nobody asks for is not',
  async (t) => {
    const { session } = await open(t);
    const tag = { repository: APP, reference: reference('v1'), asker: ADA };
    t.match(await session.manifest(tag), { kind: 'manifest' });
    const absent = { repository: APP, reference: reference('absent'), asker: ADA };
    for (let n = 0; n < 10; n += 1)
      t.match(await session.manifest(absent), { kind: 'unknown' }, 'asked once');
    t.match(await session.manifest({ ...tag, reference: reference('gone') }), { kind: 'unknown' });
    t.match(await session.manifest({ ...tag, reference: reference('more') }), { kind: 'limited' });
    t.match(await session.manifest(absent), { kind: 'unknown' });
    t.match(await session.manifest(tag), { kind: 'manifest' });
    t.match(await session.manifest({ ...tag, reference: reference(image.digest) }), { kind: 'manifest' });
    for (const blob of image.blobs) {
      const question = { repository: APP, digest: digest(blob.digest), asker: ADA };
      t.match(await session.blobSize(question), { kind: 'size' });
      t.not((await session.blob(question)).kind, 'limited');
    }
    t.match(
      await session.manifest({ repository: APP, reference: reference('other') }),
      { kind: 'unknown' },
      'the edge',
    );
    t.match(
      await session.manifest({ repository: APP, reference: reference('bob'), asker: { caller: 'user bob' } }),
      { kind: 'unknown' },
      'another caller',
    );
  },
);
