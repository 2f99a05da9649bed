import { LRUCache } from 'lru-cache';
import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { SiteChannel } from '../../store/site-channel.ts';
import { AnnouncementSeal, type SiteMessage } from './announcement-seal.ts';
import type { Announcement } from './announcement.ts';

/** What is older, or so far in the future, is not carried out: the edges' clocks are closer together than this. */
const WINDOW = seconds(60);
/** Each edge says that it is there, so that the others see what they have missed, and itself whether it still hears. */
const BEAT = seconds(10);
/** Without hearing oneself for so many beats, one listens anew. */
const DEAF_BEATS = 3;
const MAX_SIBLINGS = 1000;
/** Announcements that wait for the way to the siblings to come back. */
const MAX_UNSENT = 1000;

/** Why a message was not taken. `replayed`: it was, already. */
export type MessageRefusal = 'unreadable' | 'out of time' | 'replayed';

export interface SiblingEvents {
  announced(kind: Announcement['kind']): void;
  carriedOut(kind: Announcement['kind']): void;
  refused(why: MessageRefusal): void;
  /** Could not be carried out here. */
  failed(error: unknown): void;
}

export interface SiblingEdgesParts {
  readonly channel: SiteChannel;
  /** Shared by the edges of the site, for announcements alone. */
  readonly key: Uint8Array;
  readonly clock: Clock;
  /** Of this edge, since its start. */
  readonly name: string;
  /** Does here what another edge has announced, without announcing it again. */
  readonly carryOut: (announcement: Announcement) => Promise<void>;
  /** Announcements may have been missed before now. */
  readonly missed: () => Promise<void>;
  readonly events: SiblingEvents;
}

/**
 * The other edges of the site, as this one hears and tells them. What cannot be told now is told when the way there is
 * back; what was not heard is noticed by the number of the next message, or when listening begins again.
 */
export class SiblingEdges {
  readonly #parts: SiblingEdgesParts;
  readonly #seal: AnnouncementSeal;
  /** The number of the last message of each sibling. */
  readonly #heard = new LRUCache<string, number>({ max: MAX_SIBLINGS });
  readonly #closing = new AbortController();
  #unsent: Announcement[] = [];
  #sent = 0;
  #deafBeats = 0;
  /** One after the other, in the order of arrival. */
  #working: Promise<void> = Promise.resolve();

  constructor(parts: SiblingEdgesParts) {
    this.#parts = parts;
    this.#seal = new AnnouncementSeal(parts.key);
  }

  listen(): void {
    const { channel, missed } = this.#parts;
    channel.listen(
      (message) => this.#receive(message),
      () => {
        this.#queue(missed);
        void this.#tellUnsent();
      },
    );
    void this.#beat();
  }

  /** Never rejects: siblings that cannot be told now are told later. */
  async announce(announcement: Announcement): Promise<void> {
    if (await this.#send(announcement)) return;
    if (this.#unsent.length < MAX_UNSENT) this.#unsent.push(announcement);
  }

  /** Ends what is being carried out. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#parts.channel.close();
    await this.#working;
  }

  async #beat(): Promise<void> {
    const { clock, channel } = this.#parts;
    for (;;) {
      // A sleep rejects only when it is aborted.
      await clock.sleep(BEAT, this.#closing.signal).catch(() => undefined);
      if (this.#closing.signal.aborted) return;
      await this.#tellUnsent();
      if (!(await this.#send(undefined))) continue;
      this.#deafBeats += 1;
      if (this.#deafBeats <= DEAF_BEATS) continue;
      this.#deafBeats = 0;
      channel.rejoin();
    }
  }

  async #tellUnsent(): Promise<void> {
    const waiting = this.#unsent;
    this.#unsent = [];
    for (const announcement of waiting) await this.announce(announcement);
  }

  async #send(announcement: Announcement | undefined): Promise<boolean> {
    const { channel, clock, name, events } = this.#parts;
    this.#sent += 1;
    const message = { from: name, sequence: this.#sent, at: clock.now(), announcement };
    try {
      await channel.publish(this.#seal.seal(message));
      if (announcement !== undefined) events.announced(announcement.kind);
      return true;
    } catch {
      // The channel has told of it. Siblings see by the number that something is missing.
      return false;
    }
  }

  #receive(sealed: Uint8Array): void {
    const { clock, name, events } = this.#parts;
    const message = this.#seal.open(sealed);
    if (message === undefined) return events.refused('unreadable');
    if (message.from === name) {
      this.#deafBeats = 0;
      return;
    }
    if (Math.abs(clock.now() - message.at) > WINDOW) return events.refused('out of time');
    this.#take(message);
  }

  #take({ from, sequence, announcement }: SiteMessage): void {
    const { carryOut, missed, events } = this.#parts;
    const last = this.#heard.get(from);
    if (last !== undefined && sequence <= last) return events.refused('replayed');
    this.#heard.set(from, sequence);
    if (last !== undefined && sequence !== last + 1) this.#queue(missed);
    if (announcement === undefined) return;
    this.#queue(async () => {
      await carryOut(announcement);
      events.carriedOut(announcement.kind);
    });
  }

  #queue(work: () => Promise<void>): void {
    this.#working = this.#working.then(work).catch((error: unknown) => this.#parts.events.failed(error));
  }
}
