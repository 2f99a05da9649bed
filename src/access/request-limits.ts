import type { Caller } from './caller.ts';

/** Rates of requests. */
export interface RequestLimits {
  /**
   * Before anything is done for a request of that canonical address. Undefined: go on; a promise: after its turn in the queue.
   * @throws {TooManyRequests}
   */
  arrive(address: string): Promise<void> | undefined;
  /** The same once the caller is known. */
  admit(caller: Caller): Promise<void> | undefined;
}

export const NO_LIMITS: RequestLimits = { arrive: () => undefined, admit: () => undefined };
