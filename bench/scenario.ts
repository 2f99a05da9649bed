import type { Options } from './options.ts';
import type { Stage } from './stage.ts';

/** Who is measured. `direct` is the client at the central registry itself, through the same slow link. */
export type ContenderName = 'pierhead' | 'nginx' | 'docker-registry' | 'direct';

/** What the project promises about a figure; a missed target is marked in the table and fails nothing. */
export interface Target {
  /** The figure the promise is about: ours itself, or ours divided by a contender's. */
  readonly of: 'ours' | Exclude<ContenderName, 'pierhead'>;
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** One figure: a sample per round and contender. */
export interface Series {
  readonly scenario: string;
  readonly metric: string;
  readonly unit: string;
  readonly samples: Readonly<Partial<Record<ContenderName, readonly number[]>>>;
  readonly target?: Target;
  /** Whose figure ours is not divided by, because it was taken otherwise or because it may be near nothing. */
  readonly incomparable?: readonly ContenderName[];
  /** What a reader of the table must know to read this row right. */
  readonly note?: string;
}

export interface Bench {
  readonly options: Options;
  readonly stage: Stage;
  /** One line for the person who waits. */
  readonly progress: (step: string) => void;
}

export interface Scenario {
  readonly name: string;
  readonly about: string;
  /** @throws {Error} when a request failed or a body was wrong: then none of its figures counts. */
  run(bench: Bench): Promise<readonly Series[]>;
}
