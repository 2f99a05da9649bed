import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { SourceUnavailable } from '../sources.ts';
import { IssuerFailure, type PublicKeys } from './oidc-documents.ts';

/** After that the issuer is asked whether its keys are still the same. */
const FRESH_FOR = seconds(10 * 60);
/** How long keys are good for while the issuer cannot be asked. */
const GOOD_FOR = seconds(24 * 3600);
/** A token by a key that is not known may be the first after a rotation, or anybody's: the issuer is asked so often for it. */
const UNKNOWN_KEY_PAUSE = seconds(30);
/** After a failure. */
const FAILURE_PAUSE = seconds(5);

export type KeySet = ReturnType<typeof createLocalJWKSet>;

export interface IssuerKeysParts {
  readonly clock: Clock;
  /** @throws {IssuerFailure} */
  readonly fetch: () => Promise<PublicKeys>;
  /** Told once per change, the first word included. */
  readonly changed: (up: boolean, reason: string | undefined) => void;
}

/** The keys of an issuer. One question at a time; nobody waits for an issuer that is known to be down while its last keys are good. */
export class IssuerKeys {
  readonly #parts: IssuerKeysParts;
  readonly #asking = new SingleFlight<'keys', void>();
  #set: { readonly keys: KeySet; readonly at: Milliseconds } | undefined;
  #lastTry: { readonly at: Milliseconds; readonly failure: string | undefined } | undefined;

  constructor(parts: IssuerKeysParts) {
    this.#parts = parts;
  }

  /** @throws {SourceUnavailable} */
  async current(): Promise<KeySet> {
    if (this.#younger(FRESH_FOR)) return this.#good();
    const failing = this.#lastTry?.failure !== undefined;
    const asked = !failing || this.#triedBefore(FAILURE_PAUSE) ? this.#ask() : undefined;
    if (!failing || !this.#younger(GOOD_FOR)) await asked;
    return this.#good();
  }

  /** Other keys than these, when there are any. @throws {SourceUnavailable} when the issuer would have to say and cannot. */
  async otherThan(keys: KeySet): Promise<KeySet | undefined> {
    const failing = this.#lastTry?.failure !== undefined;
    if (this.#set?.keys === keys && this.#triedBefore(failing ? FAILURE_PAUSE : UNKNOWN_KEY_PAUSE))
      await this.#ask();
    if (this.#set?.keys !== keys) return this.#good();
    if (this.#lastTry?.failure !== undefined) throw this.#unavailable();
    return undefined;
  }

  #good(): KeySet {
    if (this.#set === undefined || !this.#younger(GOOD_FOR)) throw this.#unavailable();
    return this.#set.keys;
  }

  #unavailable(): SourceUnavailable {
    return new SourceUnavailable(
      `the issuer cannot be asked for its keys: ${this.#lastTry?.failure ?? 'unknown reason'}`,
    );
  }

  #younger(age: Milliseconds): boolean {
    return this.#set !== undefined && this.#parts.clock.monotonic() - this.#set.at < age;
  }

  #triedBefore(pause: Milliseconds): boolean {
    return this.#lastTry === undefined || this.#parts.clock.monotonic() - this.#lastTry.at >= pause;
  }

  /** Never rejects: what came of it is in the state. */
  #ask(): Promise<void> {
    return this.#asking.run('keys', async () => {
      const { clock, fetch, changed } = this.#parts;
      const before = this.#lastTry;
      let failure: string | undefined;
      try {
        const keys = createLocalJWKSet((await fetch()) as JSONWebKeySet);
        this.#set = { keys, at: clock.monotonic() };
      } catch (error) {
        failure = error instanceof IssuerFailure ? error.message : 'its keys cannot be read';
      }
      this.#lastTry = { at: clock.monotonic(), failure };
      if (before === undefined || (before.failure === undefined) !== (failure === undefined))
        changed(failure === undefined, failure);
    });
  }
}
