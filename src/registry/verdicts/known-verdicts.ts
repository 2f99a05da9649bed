import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Verdicts, Wanted } from '../../access/authorize.ts';
import { callerKey } from '../../access/caller-key.ts';
import type { Caller, Identity } from '../../access/caller.ts';
import { Denied, Unauthorized } from '../../access/refusals.ts';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { RegistryError, type ErrorCode } from '../../oci/error-codes.ts';
import { referenceText } from '../../oci/reference.ts';
import { repositoryKey } from '../../oci/repository-ref.ts';
import type { Keeper, VerdictAnswer, VerdictQuestion } from '../../cache/keeper.ts';
import { limited } from '../limited.ts';
import { claimedUser } from '../../oci/shown-claims.ts';

const MAX_REMEMBERED = 20_000;

interface Remembered {
  /** On the monotonic clock. */
  readonly until: Milliseconds;
  readonly identified: boolean;
}

interface Asking {
  readonly question: VerdictQuestion;
  readonly denied: () => Denied;
  /** What is said while the upstream cannot be asked. */
  readonly unavailable: ErrorCode;
}

/**
 * Verdicts in a worker: a yes that is fresh is remembered here, so that a hit asks nobody; all else is the keeper's to
 * know. Pushes are not asked about: they go on to the upstream, which judges them itself.
 */
export class KnownVerdicts implements Verdicts {
  readonly #keeper: Pick<Keeper, 'verdict'>;
  readonly #clock: Clock;
  /** Of this process alone: what callers show is not kept, also not here. */
  readonly #key = randomBytes(32);
  readonly #allowed = new LRUCache<string, Remembered>({ max: MAX_REMEMBERED });
  readonly #identities = new WeakMap<Caller, Identity>();

  constructor(keeper: Pick<Keeper, 'verdict'>, clock: Clock) {
    this.#keeper = keeper;
    this.#clock = clock;
  }

  demand(caller: Caller, wanted: Wanted): Promise<void> | undefined {
    if (wanted.action !== 'pull') return undefined;
    const key = `${repositoryKey(wanted.repository)} ${this.#keyOf(caller)}`;
    return this.#isKnown(key, caller) ? undefined : this.#askFor(key, caller, wanted);
  }

  ping(caller: Caller, upstream: string): Promise<void> | undefined {
    const key = `${upstream} ${this.#keyOf(caller)}`;
    if (this.#isKnown(key, caller)) return undefined;
    const denied = (): Denied => new Denied('the upstream does not let this caller in', false);
    return this.#ask(key, caller, { question: { upstream }, denied, unavailable: 'UNAVAILABLE' });
  }

  async accepted(caller: Caller, upstream: string): Promise<void> {
    if (caller.authorization === undefined || this.#identities.has(caller)) return;
    const toNobody = await this.#keeper.verdict({ upstream });
    this.#believe(caller, toNobody.kind === 'unauthorized');
  }

  identityOf(caller: Caller): Identity | undefined {
    return this.#identities.get(caller);
  }

  #askFor(key: string, caller: Caller, { repository, object }: Wanted): Promise<void> {
    const wanted = { repository, ...(object !== undefined && { path: pathOf(object) }) };
    return this.#ask(key, caller, {
      question: { upstream: repository.upstream, wanted },
      denied: () => new Denied('the upstream has no such thing for this caller', true),
      // docker repeats a 5xx for a blob for 75 seconds before it goes on to its next endpoint.
      unavailable: object?.kind === 'blob' ? 'BLOB_UNKNOWN' : 'UNAVAILABLE',
    });
  }

  async #ask(key: string, caller: Caller, { question, denied, unavailable }: Asking): Promise<void> {
    const { authorization } = caller;
    const shown = authorization !== undefined && { authorization };
    const answer = await this.#keeper.verdict({ ...question, caller: callerKey(caller), ...shown });
    switch (answer.kind) {
      case 'allowed':
        return this.#remember(key, caller, answer);
      case 'unauthorized':
        throw new Unauthorized('the upstream registry wants to know who you are', answer.challenges);
      case 'unknown':
        throw denied();
      case 'limited':
        throw limited(answer);
      case 'unavailable':
        throw new RegistryError(unavailable, answer.reason);
    }
  }

  #isKnown(key: string, caller: Caller): boolean {
    const known = this.#allowed.get(key);
    if (known === undefined || this.#clock.monotonic() >= known.until) return false;
    this.#believe(caller, known.identified);
    return true;
  }

  #remember(
    key: string,
    caller: Caller,
    { freshFor, identified }: Extract<VerdictAnswer, { kind: 'allowed' }>,
  ): void {
    this.#believe(caller, identified);
    if (freshFor > 0) this.#allowed.set(key, { until: ms(this.#clock.monotonic() + freshFor), identified });
  }

  #believe(caller: Caller, identified: boolean): void {
    const user = identified ? claimedUser(caller.authorization) : undefined;
    if (user !== undefined) this.#identities.set(caller, { user, groups: [], by: 'upstream' });
  }

  #keyOf({ authorization }: Caller): string {
    if (authorization === undefined) return 'anybody';
    return createHmac('sha256', this.#key).update(authorization).digest('base64url');
  }
}

function pathOf(object: NonNullable<Wanted['object']>): string {
  return object.kind === 'blob' ? `blobs/${object.digest}` : `manifests/${referenceText(object.reference)}`;
}
