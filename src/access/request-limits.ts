import type { Caller } from './caller.ts';

/** Tells when the client has hung up. Called only when there is something to wait for. */
export type Gone = () => AbortSignal;

/** Rates of requests. */
export interface RequestLimits {
  /**
   * Before anything is done for a request of that canonical address. Undefined: go on; a promise: after its turn in the queue.
   * @throws {TooManyRequests}
   */
  arrive(address: string, gone?: Gone): Promise<void> | undefined;
  /** The same once the caller is known. */
  admit(caller: Caller, gone?: Gone): Promise<void> | undefined;
}

export const NO_LIMITS: RequestLimits = { arrive: () => undefined, admit: () => undefined };
