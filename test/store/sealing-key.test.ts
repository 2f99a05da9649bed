import { readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readSealingKey } from '../../src/store/sealing-key.ts';
import { tempFolder } from '../support/temp.ts';

void t.test('made once, then the same', async (t) => {
  const folder = tempFolder(t);
  const path = join(folder, 'sealing.key');
  const key = await readSealingKey(path);
  t.equal(key.byteLength, 32);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.strictSame(Buffer.from(await readSealingKey(path)), Buffer.from(key));
  t.strictSame(readFileSync(path), Buffer.from(key));
  const other = await readSealingKey(join(folder, 'other.key'));
  t.not(Buffer.compare(other, key), 0, 'every store has its own');
});

void t.test('what is not such a key is not used, and not overwritten', async (t) => {
  const folder = tempFolder(t);
  for (const length of [0, 31, 33]) {
    const path = join(folder, `${length}`);
    writeFileSync(path, Buffer.alloc(length, 7));
    await t.rejects(readSealingKey(path), { message: new RegExp(`${path} .* 32 bytes`) });
    t.equal(statSync(path).size, length);
  }
  await readSealingKey(join(folder, 'key'));
  const link = join(folder, 'link');
  symlinkSync(join(folder, 'key'), link);
  await t.rejects(readSealingKey(link), { code: 'ELOOP' });
  const dangling = join(folder, 'dangling');
  symlinkSync(join(folder, 'elsewhere'), dangling);
  await t.rejects(readSealingKey(dangling));
  t.throws(() => statSync(join(folder, 'elsewhere')), { code: 'ENOENT' });
});
