import { LRUCache } from 'lru-cache';
import { seconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import type { AuditEntry } from './audit-entry.ts';

/** A worker that is killed loses what it has not handed over: no more than this. */
const HAND_OVER_MS = 50;
const MAX_HELD = 200;
/** What is refused again and again is told of once in this time, with a count. */
const SELDOM_INTERVAL = seconds(60);
const MAX_SELDOM = 10_000;

interface Seldom {
  readonly since: number;
  count: number;
}

/** Gathers a worker's entries and hands them to the keeper, which alone writes. */
export class AuditOutbox {
  readonly #clock: Clock;
  readonly #handOver: (entries: readonly AuditEntry[]) => void;
  readonly #seldom = new LRUCache<string, Seldom>({ max: MAX_SELDOM });
  #held: AuditEntry[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(clock: Clock, handOver: (entries: readonly AuditEntry[]) => void) {
    this.#clock = clock;
    this.#handOver = handOver;
  }

  add(entry: Omit<AuditEntry, 'timestamp'>): void {
    this.#held.push({ timestamp: new Date(this.#clock.now()).toISOString(), ...entry });
    if (this.#held.length >= MAX_HELD) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), HAND_OVER_MS).unref();
  }

  /** A connection that the address rules turned away: a flood of them must not become a flood of lines. */
  turnedAway(ip: string): void {
    const reason = 'access.allow and access.deny';
    const nothing = { status: 0, bytes: 0, requestId: '' };
    this.addSeldom(ip, { action: 'connect', user: 'anonymous', ip, decision: 'deny', reason, ...nothing });
  }

  /** An entry of which there may be very many of the same `kind`; the next one that is told says how many were not. */
  addSeldom(kind: string, entry: Omit<AuditEntry, 'timestamp'>): void {
    const now = this.#clock.monotonic();
    const known = this.#seldom.get(kind);
    if (known !== undefined && now - known.since < SELDOM_INTERVAL) {
      known.count += 1;
      return;
    }
    const before = known === undefined || known.count === 1 ? '' : ` (${known.count - 1} more before)`;
    this.#seldom.set(kind, { since: now, count: 1 });
    this.add({ ...entry, reason: `${entry.reason}${before}` });
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#held.length === 0) return;
    this.#handOver(this.#held);
    this.#held = [];
  }
}
