import type { ListingAnswer } from '../../../src/cache/keeper.ts';
import type { EdgeCache } from '../../../src/cache/edge-cache.ts';
import { FIRST_PAGE, type Page } from '../../../src/oci/page.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { createImage } from '../../support/images.ts';
import type { Teardown } from '../../support/temp.ts';
import { CacheSite, digest, repository, type SiteOptions } from '../cache-site.ts';

export const APP = repository('team/app');
export const TAGS = ['a', 'b', 'c', 'd', 'e'];
export const image = createImage({ layers: [3000], format: 'oci' });

export interface Scene {
  readonly central: Central;
  readonly clock: FakeClock;
  readonly site: CacheSite;
  readonly worker: EdgeCache;
  readonly tags: (page?: Partial<Page>) => Promise<ListingAnswer>;
  readonly referrers: (of: string, artifactType?: string) => Promise<ListingAnswer>;
  readonly catalog: (page?: Partial<Page>) => Promise<ListingAnswer>;
}

/** A central with `team/app` under {@link TAGS}, and the cache of an edge in front of it. */
export async function scene(t: Teardown, options: SiteOptions = {}): Promise<Scene> {
  const central = await startCentral();
  t.teardown(() => central.stop());
  for (const tag of TAGS) central.addImage('team/app', tag, image);
  const clock = new FakeClock();
  const site = await CacheSite.open(t, central, { clock, ...options });
  return { central, clock, site, ...questions(site) };
}

export function questions(site: CacheSite): Pick<Scene, 'worker' | 'tags' | 'referrers' | 'catalog'> {
  const worker = site.worker();
  return {
    worker,
    tags: (page = {}) => worker.tags(APP, { ...FIRST_PAGE, ...page }),
    referrers: (of, artifactType) => worker.referrers(APP, digest(of), artifactType, FIRST_PAGE),
    catalog: (page = {}) => worker.catalog('central', { ...FIRST_PAGE, ...page }),
  };
}

export function entriesOf(answer: ListingAnswer): unknown {
  if (answer.kind !== 'listing') return answer;
  return JSON.parse(Buffer.from(answer.entries).toString());
}

/** Retries pause by the clock: it is moved on in steps that stay short of the deadlines. */
export async function settled(clock: FakeClock, asked: Promise<ListingAnswer>): Promise<ListingAnswer> {
  const step = async (): Promise<undefined> => {
    await clock.advance(20);
    return undefined;
  };
  return await eventually(() => Promise.race([asked, step()]));
}
