import { StoreLayout } from '../../src/store/layout.ts';
import { BlobFiles } from '../../src/store/blob-files.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { write } from 'node:fs';
import { promisify } from 'node:util';

// One fill from its first byte to its commit, for somebody who watches the system calls. Arguments: the storage folder.
const files = new BlobFiles(new StoreLayout(process.argv[2] ?? ''));
await files.layout.create();
const content = Buffer.alloc(100_000, 'blob');
const digest = digestOf(content);
const partial = await files.openPartialForWriting(digest);
await promisify(write)(partial.fd, content);
await files.commit(digest, partial);
await partial.close();
