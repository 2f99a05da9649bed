import type { Milliseconds } from '../brand.ts';

/** Counters that several edges add to. */
export interface SharedCounters {
  /**
   * Adds to the counter of that key, which begins anew with each window of {@link WINDOW_SECONDS}. Without the others it counts for this
   * edge alone.
   */
  add(key: string, uses: number): Promise<Count>;
}

export interface Count {
  /** By everybody, in the window, these included. */
  readonly used: number;
  /** Until the window ends. */
  readonly endsIn: Milliseconds;
}

export const WINDOW_SECONDS = 60;
