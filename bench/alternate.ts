import type { ContenderName, Series } from './scenario.ts';

/** What one turn of one contender gave: a value per metric. */
export type Turn = Readonly<Record<string, number>>;

export type Samples = Partial<Record<ContenderName, number[]>>;

/**
 * Gives each contender its turn in each round, a different one going first each time, so that whatever drifts over
 * the minutes (temperature, neighbours, the page cache) falls on all of them alike.
 */
export async function alternate(
  names: readonly ContenderName[],
  rounds: number,
  turn: (name: ContenderName, round: number) => Promise<Turn | undefined>,
): Promise<ReadonlyMap<string, Samples>> {
  const metrics = new Map<string, Samples>();
  for (let round = 0; round < rounds; round += 1) {
    const first = round % names.length;
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      for (const [metric, value] of Object.entries((await turn(name, round)) ?? {})) {
        const samples = metrics.get(metric) ?? {};
        (samples[name] ??= []).push(value);
        metrics.set(metric, samples);
      }
    }
  }
  return metrics;
}

/** The series of a metric that a turn gave. */
export function series(
  metrics: ReadonlyMap<string, Samples>,
  key: string,
  about: Omit<Series, 'samples'>,
): Series {
  const samples = metrics.get(key);
  if (samples === undefined) throw new Error(`no turn gave ${key}`);
  return { ...about, samples };
}
