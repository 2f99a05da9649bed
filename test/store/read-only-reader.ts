import { readSync, writeSync } from 'node:fs';
import { systemClock } from '../../src/lib/clock.ts';
import { EmbeddedStore } from '../../src/store/embedded-store.ts';

// A worker's view of the store, in one turn of the event loop: it looks before and after it is told of a commit, so
// that the transaction of the first look is still open at the second. Arguments: the folder, the number of rounds.
const [, , folder = '', rounds = '1'] = process.argv;
const store = new EmbeddedStore(folder, { clock: systemClock, readOnly: true });
for (let round = 0; round < Number(rounds); round += 1) {
  const before = look(`key ${round}`);
  writeSync(1, `${round} ${before}\n`);
  readSync(0, Buffer.alloc(1));
  writeSync(1, `${round} ${look(`key ${round}`)} ${store.has('tags', `key ${round}`)}\n`);
}
await store.close();

function look(key: string): string {
  const value = store.read('tags', key);
  return value === undefined ? 'nothing' : Buffer.from(value).toString();
}
