import { attempt } from '../../lib/attempt.ts';
import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { UpstreamError, type TokenStore, type Upstream } from '../../upstream/upstream.ts';
import { knock } from './questions.ts';

/** What is known is used at once, and asked for again behind it after so long. */
const ASKED_AGAIN_AFTER = seconds(600);
const KEPT_FOR = seconds(30 * 24 * 60 * 60);

/** What `/v2/` of an upstream says to who shows nothing. */
export interface Door {
  readonly open: boolean;
  /** Values of `WWW-Authenticate`. */
  readonly challenges: readonly string[];
}

export interface DoorsParts {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly clock: Clock;
  /** Outlives the process, so that `/v2/` is answered during an outage too. */
  readonly store: TokenStore;
  readonly unanswered: (upstream: string, error: UpstreamError) => void;
  readonly storeFailed: (error: unknown) => void;
}

interface Known {
  readonly door: Door;
  /** On the monotonic clock; of an earlier run: long ago. */
  readonly askedAt: Milliseconds;
}

/** The upstreams' own `/v2/`: asked once, and known from then on whether the upstream is up or not. */
export class Doors {
  readonly #parts: DoorsParts;
  readonly #known = new Map<string, Known>();
  readonly #asking = new SingleFlight<string, Door>();

  constructor(parts: DoorsParts) {
    this.#parts = parts;
  }

  /** @throws {UpstreamError} when nothing was ever known of it. */
  async of(upstream: string): Promise<Door> {
    const known = this.#known.get(upstream) ?? (await this.#restore(upstream));
    if (known === undefined) return await this.#ask(upstream);
    if (this.#parts.clock.monotonic() - known.askedAt >= ASKED_AGAIN_AFTER) this.#askBehind(upstream, known);
    return known.door;
  }

  #askBehind(upstream: string, known: Known): void {
    // Not with every ping of an outage.
    this.#known.set(upstream, { ...known, askedAt: this.#parts.clock.monotonic() });
    this.#ask(upstream).catch((error: unknown) => {
      if (error instanceof UpstreamError) this.#parts.unanswered(upstream, error);
      else this.#parts.storeFailed(error);
    });
  }

  #ask(name: string): Promise<Door> {
    return this.#asking.run(name, async () => {
      const { upstreams, clock, store } = this.#parts;
      const upstream = upstreams.get(name);
      if (upstream === undefined) throw new UpstreamError('protocol', `no upstream ${name}`);
      const answer = await knock(upstream, undefined);
      const door = { open: answer.status !== 401, challenges: answer.challenges ?? [] };
      this.#known.set(name, { door, askedAt: clock.monotonic() });
      const value = Buffer.from(JSON.stringify(door));
      void this.#attempt(() => store.put(storeKey(name), value, ms(clock.now() + KEPT_FOR)));
      return door;
    });
  }

  async #restore(upstream: string): Promise<Known | undefined> {
    return await this.#attempt(async () => {
      const value = await this.#parts.store.get(storeKey(upstream));
      const door = value && decode(value);
      return door && { door, askedAt: ms(-Infinity) };
    });
  }

  #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    return attempt(work, this.#parts.storeFailed);
  }
}

function storeKey(upstream: string): string {
  return `door\n${upstream}`;
}

function decode(value: Uint8Array): Door | undefined {
  const { open, challenges } = JSON.parse(Buffer.from(value).toString()) as Record<string, unknown>;
  if (typeof open !== 'boolean' || !Array.isArray(challenges)) return undefined;
  return { open, challenges: challenges.filter((one) => typeof one === 'string') };
}
