import type { ContenderName, Series, Target } from '../scenario.ts';
import { pairedRatios, summarise, type Summary } from './statistics.ts';

export type Outcome = 'met' | 'missed' | 'no target';

/** A series, worked out: what the table shows and the results file holds. */
export interface Row extends Series {
  readonly summaries: Readonly<Partial<Record<ContenderName, Summary>>>;
  /** Ours divided by each other contender's, from the pairs of one round. */
  readonly ratios: Readonly<Partial<Record<ContenderName, Summary>>>;
  readonly outcome: Outcome;
}

export function toRow(series: Series): Row {
  const names = Object.keys(series.samples) as ContenderName[];
  const ours = series.samples.pierhead ?? [];
  const summaries: Partial<Record<ContenderName, Summary>> = {};
  const ratios: Partial<Record<ContenderName, Summary>> = {};
  for (const name of names) {
    const theirs = series.samples[name] ?? [];
    summaries[name] = summarise(theirs);
    if (name === 'pierhead' || series.incomparable?.includes(name) === true) continue;
    const pairs = pairedRatios(ours, theirs);
    if (pairs.length > 0) ratios[name] = summarise(pairs);
  }
  return { ...series, summaries, ratios, outcome: judge(series.target, summaries, ratios) };
}

function judge(target: Target | undefined, summaries: Row['summaries'], ratios: Row['ratios']): Outcome {
  if (target === undefined) return 'no target';
  const value = (target.of === 'ours' ? summaries.pierhead : ratios[target.of])?.median;
  if (value === undefined) return 'missed';
  return value <= (target.atMost ?? Infinity) && value >= (target.atLeast ?? -Infinity) ? 'met' : 'missed';
}
