import { EdgeKeeper } from '../../src/app-keeper.ts';
import { loadConfig } from '../../src/config/load.ts';
import { createLog } from '../../src/observe/log.ts';
import { StoreLayout } from '../../src/store/layout.ts';
import { startCentral, type Central } from '../support/central.ts';
import { tempFolder, type Teardown } from '../support/temp.ts';

/** A real keeper over a store of its own, in front of a scriptable central. */
export async function openKeeper(t: Teardown): Promise<{ keeper: EdgeKeeper; central: Central }> {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const cwd = tempFolder(t, 'keeper');
  const config = loadConfig({ flags: { upstream: central.url, data: 'data' }, env: {}, cwd, cpus: 1 });
  const layout = new StoreLayout(config.storage.path);
  await layout.create();
  const keeper = await EdgeKeeper.open(config, layout, createLog('silent', 'keeper'), () => 1);
  t.teardown(() => keeper.stop());
  return { keeper, central };
}
