import { seconds } from '../lib/brand.ts';
import type { Unavailable } from './keeper.ts';

/** A miss is answered by then, one way or the other; retries and transfers go on behind for whoever asks next. */
export const ANSWER_DEADLINE = seconds(10);

export const TOO_SLOW: Unavailable = {
  kind: 'unavailable',
  reason: 'the upstream registry did not answer in time',
};
