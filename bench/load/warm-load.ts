import type { BlobFixture } from '../../test/support/images.ts';
import { alternate, series, type Turn } from '../alternate.ts';
import type { Endpoint } from '../contenders/contender.ts';
import { cpuSecondsOfTree } from './cpu-time.ts';
import { wrk } from './wrk.ts';
import type { Bench, Series } from '../scenario.ts';
import type { WarmSite } from '../warm-site.ts';

const WARM_UP_SECONDS = 0.3;

/** One way of asking for a thing that every contender holds already. */
export interface WarmVariant {
  readonly scenario: string;
  /** How it reads in the table: `8 connections, TLS`. */
  readonly label: string;
  /** What all variants of the scenario share; stands below the table. */
  readonly note: string;
  /** Below the endpoint: `/v2/…`. */
  readonly path: string;
  readonly content: BlobFixture;
  readonly connections: number;
  readonly secure: boolean;
  readonly reconnect?: boolean;
  /** Of small things the requests count, of large ones the bytes. */
  readonly counts: 'requests' | 'bytes';
}

/** Loads one URL at each contender in turn. Every body is checked once before the load and once after it. */
export async function measureWarm(bench: Bench, site: WarmSite, variant: WarmVariant): Promise<Series[]> {
  const { options } = bench;
  await verifyAll(site, variant);
  // Not counted: just-in-time compilers need a while, and every contender opens its files.
  for (const name of site.names) {
    await turn(site.endpoint(name, variant.secure), variant, Math.min(WARM_UP_SECONDS, options.seconds));
  }
  const metrics = await alternate(site.names, options.runs, async (name, round) => {
    bench.progress(`${variant.scenario}: ${variant.label}, ${name}, round ${round + 1} of ${options.runs}`);
    return await turn(site.endpoint(name, variant.secure), variant, options.seconds);
  });
  await verifyAll(site, variant);
  const about = { scenario: variant.scenario, note: variant.note };
  const label = (what: string): string => `${variant.label}: ${what}`;
  if (variant.counts === 'bytes') {
    return [
      series(metrics, 'rate', { ...about, metric: variant.label, unit: 'MB/s' }),
      series(metrics, 'cpu', { ...about, metric: label('server CPU'), unit: 's/GB' }),
    ];
  }
  return [
    series(metrics, 'rate', { ...about, metric: variant.label, unit: 'requests/s' }),
    series(metrics, 'p99', { ...about, metric: label('99th percentile'), unit: 'ms' }),
    series(metrics, 'cpu', { ...about, metric: label('server CPU'), unit: 'µs/request' }),
  ];
}

async function turn(endpoint: Endpoint, variant: WarmVariant, seconds: number): Promise<Turn> {
  const before = await cpuSecondsOfTree(endpoint.pid);
  const load = await wrk({
    url: endpoint.url + variant.path,
    connections: variant.connections,
    seconds,
    reconnect: variant.reconnect ?? false,
    accept: variant.content.mediaType,
    bodyBytes: variant.content.size,
  });
  const cpu = (await cpuSecondsOfTree(endpoint.pid)) - before;
  if (cpu <= 0) throw new Error(`${endpoint.url}: no CPU time was counted, a server process must have ended`);
  if (variant.counts === 'bytes')
    return { rate: load.bytes / 1e6 / load.seconds, cpu: cpu / (load.bytes / 1e9) };
  return { rate: load.requests / load.seconds, p99: load.p99Ms, cpu: (cpu / load.requests) * 1e6 };
}

async function verifyAll(site: WarmSite, variant: WarmVariant): Promise<void> {
  for (const name of site.names) {
    await site.verify(name, variant.path, variant.content, variant.secure);
  }
}
