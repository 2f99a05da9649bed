import { LRUCache } from 'lru-cache';
import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { SiteChannel } from '../../store/site-channel.ts';
import { AnnouncementSeal } from './announcement-seal.ts';
import type { Announcement } from './announcement.ts';

/** What is older, or so far in the future, is not carried out: the edges' clocks are closer together than this. */
const WINDOW = seconds(60);
/** Ids that are remembered against replays. Beyond that, a replay costs a miss. */
const MAX_REMEMBERED = 10_000;

/** Why an announcement was not carried out. `replayed`: it was already. */
export type AnnouncementRefusal = 'unreadable' | 'out of time' | 'replayed';

export interface SiblingEdgesParts {
  readonly channel: SiteChannel;
  /** Shared by the edges of the site. */
  readonly secret: Uint8Array;
  readonly clock: Clock;
  readonly newId: () => string;
  /** Does here what another edge has announced, without announcing it again. */
  readonly carryOut: (announcement: Announcement) => Promise<void>;
  /** What was announced before now may have been missed. */
  readonly missed: () => Promise<void>;
  readonly events: SiblingEvents;
}

export interface SiblingEvents {
  announced(kind: Announcement['kind']): void;
  carriedOut(kind: Announcement['kind']): void;
  refused(why: AnnouncementRefusal): void;
  /** It did not reach the siblings, or could not be carried out here. */
  failed(error: unknown): void;
}

/** The other edges of the site, as this one hears and tells them. */
export class SiblingEdges {
  readonly #parts: SiblingEdgesParts;
  readonly #seal: AnnouncementSeal;
  readonly #own: string;
  readonly #seen = new LRUCache<string, true>({ max: MAX_REMEMBERED });
  /** One after the other, in the order of arrival. */
  #working: Promise<void> = Promise.resolve();

  constructor(parts: SiblingEdgesParts) {
    this.#parts = parts;
    this.#seal = new AnnouncementSeal(parts.secret);
    this.#own = parts.newId();
  }

  listen(): void {
    this.#parts.channel.listen(
      (message) => this.#receive(message),
      () => this.#queue(() => this.#parts.missed()),
    );
  }

  /** Never rejects: siblings that are not told keep what they have until it is stale. */
  async announce(announcement: Announcement): Promise<void> {
    const { channel, clock, newId, events } = this.#parts;
    const sealed = this.#seal.seal({ id: newId(), from: this.#own, at: clock.now(), announcement });
    try {
      await channel.publish(sealed);
      events.announced(announcement.kind);
    } catch (error) {
      events.failed(error);
    }
  }

  /** Ends what is being carried out. */
  async close(): Promise<void> {
    await this.#parts.channel.close();
    await this.#working;
  }

  #receive(message: Uint8Array): void {
    const { clock, events, carryOut } = this.#parts;
    const opened = this.#seal.open(message);
    if (opened === undefined) return events.refused('unreadable');
    const { id, from, at, announcement } = opened;
    if (from === this.#own) return;
    if (Math.abs(clock.now() - at) > WINDOW) return events.refused('out of time');
    if (this.#seen.has(id)) return events.refused('replayed');
    this.#seen.set(id, true);
    this.#queue(async () => {
      await carryOut(announcement);
      events.carriedOut(announcement.kind);
    });
  }

  #queue(work: () => Promise<void>): void {
    this.#working = this.#working.then(work).catch((error: unknown) => this.#parts.events.failed(error));
  }
}
