/** What a handful of runs says: the middle one, and how far apart the outer ones are. */
export interface Summary {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly runs: number;
}

/**
 * The spread is the whole range, not a deviation: with five runs nothing finer can be claimed.
 * @throws {RangeError} when there is no sample, or one that is not a number.
 */
export function summarise(samples: readonly number[]): Summary {
  if (samples.length === 0 || !samples.every((sample) => Number.isFinite(sample))) {
    throw new RangeError('a summary takes at least one sample, and finite ones only');
  }
  const sorted = samples.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  return {
    median: (lower + upper) / 2,
    low: sorted[0] ?? Number.NaN,
    high: sorted.at(-1) ?? Number.NaN,
    runs: sorted.length,
  };
}

/**
 * Ours divided by theirs, round by round: what slows the whole machine for a round slows both, and cancels out.
 * When one side ran fewer rounds, its last sample stands for the rounds it left out.
 */
export function pairedRatios(ours: readonly number[], theirs: readonly number[]): number[] {
  const rounds = Math.max(ours.length, theirs.length);
  return Array.from({ length: rounds }, (_, round) => at(ours, round) / at(theirs, round)).filter((ratio) =>
    Number.isFinite(ratio),
  );
}

function at(samples: readonly number[], round: number): number {
  return samples[Math.min(round, samples.length - 1)] ?? Number.NaN;
}
