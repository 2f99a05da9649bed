import type { Clock } from '../../../src/lib/clock.ts';
import { LEASE_LIFE, type Lease, type Leases } from '../../../src/lib/leases.ts';
import { StoreError } from '../../../src/store/metadata-store.ts';
import type { SiteChannel } from '../../../src/store/site-channel.ts';

/** What Redis is to the edges of a site, for several of them in one process and on one fake clock. */
export class MemorySite implements Leases {
  /** Every message that was published, also such as reached nobody. */
  readonly published: Uint8Array[] = [];
  readonly taken: string[] = [];
  readonly #clock: Clock;
  readonly #held = new Map<string, number>();
  readonly #channels = new Set<MemoryChannel>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get held(): number {
    return [...this.#held.values()].filter((until) => until > this.#clock.monotonic()).length;
  }

  async take(question: string): Promise<Lease | undefined> {
    const until = this.#held.get(question);
    if (until !== undefined && until > this.#clock.monotonic()) return undefined;
    this.taken.push(question);
    this.#held.set(question, this.#clock.monotonic() + LEASE_LIFE);
    return { release: () => this.#held.delete(question) };
  }

  channel(): MemoryChannel {
    const channel = new MemoryChannel((message) => {
      this.published.push(message);
      for (const other of this.#channels) other.deliver(message);
    });
    this.#channels.add(channel);
    return channel;
  }
}

export class MemoryChannel implements SiteChannel {
  /** False: what is published fails, and nothing is heard. */
  connected = true;
  rejoins = 0;
  readonly #send: (message: Uint8Array) => void;
  #received: (message: Uint8Array) => void = () => undefined;
  #joined: () => void = () => undefined;

  constructor(send: (message: Uint8Array) => void) {
    this.#send = send;
  }

  async publish(message: Uint8Array): Promise<void> {
    if (!this.connected) throw new StoreError('unavailable', 'away');
    this.#send(message);
  }

  listen(received: (message: Uint8Array) => void, joined: () => void): void {
    this.#received = received;
    this.#joined = joined;
    joined();
  }

  rejoin(): void {
    this.rejoins += 1;
    this.#joined();
  }

  deliver(message: Uint8Array): void {
    if (this.connected) this.#received(message);
  }

  async close(): Promise<void> {
    this.#received = () => undefined;
  }
}
