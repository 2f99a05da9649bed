import { resolve } from 'node:path';
import { CommandRefused, isServed, reloadsOf } from '../admin/control-client.ts';
import { StoreLayout } from '../store/layout.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';

/** Has the edge that runs on the storage folder read its configuration and certificates again. Exit 1 when it refuses. */
export async function reload(options: EdgeOptions): Promise<void> {
  // Named, the folder is all that is needed: the file may be just what the edge is to find wrong.
  const storagePath = options.data === undefined ? configOf(options).storage.path : resolve(options.data);
  const { controlSocket } = new StoreLayout(storagePath);
  if (!(await isServed(controlSocket)))
    throw new CommandRefused(
      `no edge runs on ${storagePath}: name its storage folder with --data or --config`,
      false,
    );
  const { changed, needRestart, newCertificates } = await reloadsOf(controlSocket).reload();
  console.log(changed.length === 0 ? 'Reloaded; no key has changed.' : `Reloaded: ${changed.join(', ')}.`);
  if (newCertificates) console.log('Other certificates are served from now on.');
  if (needRestart.length > 0)
    console.log(`Changed too, but only a restart brings it into force: ${needRestart.join(', ')}.`);
}
