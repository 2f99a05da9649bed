import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { ms, seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { addressKey } from '../caller-key.ts';
import type { Identity } from '../caller.ts';
import { TooManyRequests } from '../refusals.ts';
import type { PasswordSource } from '../sources.ts';
import { FailedLogins } from './failed-logins.ts';
import { FairQueue } from './fair-queue.ts';

const REMEMBERED_FOR = seconds(60);
const MAX_REMEMBERED = 10_000;
/** Sources that are asked over a network wait side by side; what takes processor time has a limit of its own. */
const CHECKS = { atOnce: 4, perKey: 64, total: 512 } as const;

interface Remembered {
  readonly identity: Identity;
  readonly until: number;
}

/**
 * Passwords against all sources, so that no number of wrong ones takes the checks away from others: those that were right are
 * remembered for a minute, addresses take turns, and who goes on guessing is refused unheard. What is remembered are HMACs under a
 * key of this process, and gone with a reload.
 */
export class PasswordChecks {
  readonly #sources: readonly PasswordSource[];
  readonly #clock: Clock;
  readonly #key = randomBytes(32);
  readonly #remembered = new LRUCache<string, Remembered>({ max: MAX_REMEMBERED });
  readonly #running = new SingleFlight<string, Identity | undefined>();
  readonly #failed: FailedLogins;
  readonly #queue = new FairQueue(CHECKS);

  /** @param sources in the order in which they are asked */
  constructor(sources: readonly PasswordSource[], clock: Clock) {
    this.#sources = sources;
    this.#clock = clock;
    this.#failed = new FailedLogins(clock);
  }

  /**
   * Undefined: not known, or another password. Not a promise for what is remembered.
   * @throws {TooManyRequests} unheard; {SourceUnavailable} when no source knows them and one could not say.
   */
  check(
    address: string,
    user: string,
    password: string,
  ): Identity | undefined | Promise<Identity | undefined> {
    const key = this.#keyOf(user, password);
    const remembered = this.#remembered.get(key);
    if (remembered !== undefined && remembered.until > this.#clock.monotonic()) return remembered.identity;
    const from = addressKey(address);
    const wait = this.#failed.waitSeconds(from, user);
    if (wait !== undefined) throw new TooManyRequests('too many wrong passwords', wait);
    // From one address: nobody learns from another's wait whether the password was the same.
    return this.#running.run(`${from} ${key}`, () => this.#checkInTurn(from, { user, password, key }));
  }

  async #checkInTurn(
    from: string,
    { user, password, key }: { readonly user: string; readonly password: string; readonly key: string },
  ): Promise<Identity | undefined> {
    const checked = this.#queue.run(from, async () => {
      // Others of the same address may have used up the tries meanwhile.
      const wait = this.#failed.waitSeconds(from, user);
      if (wait !== undefined) throw new TooManyRequests('too many wrong passwords', wait);
      return await this.#ask(from, user, password);
    });
    if (checked === undefined) throw new TooManyRequests('too many passwords to check', 1);
    const identity = await checked;
    if (identity === undefined) this.#failed.add(from, user);
    else this.#remembered.set(key, { identity, until: ms(this.#clock.monotonic() + REMEMBERED_FOR) });
    return identity;
  }

  /**
   * All sources have their say before one that could not speak is held against the caller. It counts as a wrong try all the
   * same: the others have said no, and whoever guesses learns of a yes.
   */
  async #ask(from: string, user: string, password: string): Promise<Identity | undefined> {
    const silent: unknown[] = [];
    for (const source of this.#sources) {
      try {
        const identity = await source.check(user, password);
        if (identity !== undefined) return identity;
      } catch (error) {
        silent.push(error);
      }
    }
    if (silent.length === 0) return undefined;
    this.#failed.addForName(from, user);
    throw silent[0];
  }

  /** A name has no control characters (`authorization-header.ts`), so the two cannot be shifted into each other. */
  #keyOf(user: string, password: string): string {
    return createHmac('sha256', this.#key).update(`${user}\n${password}`).digest('base64');
  }
}
