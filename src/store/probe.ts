import { systemClock } from '../lib/clock.ts';
import { EmbeddedStore } from './embedded-store.ts';

// A process of its own, so that a damaged memory-mapped file can kill it without harm: see openMetadata.
const folder = process.argv[2];
if (folder === undefined) throw new Error('usage: probe FOLDER');
const store = new EmbeddedStore(folder, { clock: systemClock });
store.scan();
// A write goes through the list of free pages, which no read ever looks at.
await store.localRecords('state').put('probe', new Uint8Array());
await store.localRecords('state').delete('probe');
await store.close();
