import { systemClock } from '../lib/clock.ts';
import { EmbeddedStore } from './embedded-store.ts';

// A process of its own, so that a damaged memory-mapped file can kill it without harm: see openMetadata.
const folder = process.argv[2];
if (folder === undefined) throw new Error('usage: probe FOLDER');
const store = new EmbeddedStore(folder, { clock: systemClock });
store.scan();
await store.close();
