import { ms } from '../../src/lib/brand.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { StoreLayout } from '../../src/store/layout.ts';
import { openMetadata } from '../../src/store/recovery.ts';

// A keeper that fills its metadata and then ends without a word. Arguments: the storage folder.
const layout = new StoreLayout(process.argv[2] ?? '');
await layout.create();
const { store } = await openMetadata(layout, systemClock);
const puts: Promise<void>[] = [];
for (let at = 0; at < 3000; at += 1) {
  puts.push(store.put('tags', `docker.io/library/app${at}:latest`, Buffer.alloc(60, at)));
  puts.push(store.put('links', `sha256:${at} docker.io/library/app`, new Uint8Array(), { expiresAt: ms(0) }));
}
await Promise.all(puts);
await store.put('manifests', 'last', Buffer.from('bytes'));
process.kill(process.pid, 'SIGKILL');
