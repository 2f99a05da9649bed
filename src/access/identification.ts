import type { Evidence, Identity, WantedScope } from './caller.ts';

/** How callers are known, by `auth.mode`. */
export interface Identification {
  /**
   * Undefined for a caller who shows nothing; `Basic Og==` is nothing. Not a promise where no work is needed, so that a hit costs no
   * turn of the event loop.
   * @throws {Unauthorized} for what is shown and wrong; {TooManyRequests}; {RegistryError} UNAVAILABLE when the source of identities does not
   * answer: then nobody new gets in.
   */
  identify(evidence: Evidence): Identity | undefined | Promise<Identity | undefined>;
  /**
   * For who showed nothing, or not enough. Empty: no identity is asked for here.
   * @param wanted undefined for `/v2/`
   * @param origin where the request was sent: `https://HOST`
   */
  challenges(
    wanted: WantedScope | undefined,
    origin: string | undefined,
    insufficient?: boolean,
  ): readonly string[];
}

/** `auth.mode: none`: the network is the identity, and what a client shows besides is not looked at. */
export const NO_IDENTIFICATION: Identification = {
  identify: () => undefined,
  challenges: () => [],
};
