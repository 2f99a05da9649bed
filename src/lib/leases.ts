import { ms, seconds, type Milliseconds } from './brand.ts';
import type { Clock } from './clock.ts';

/** The right to ask the upstream one question for all edges of a site, for a short while. */
export interface Lease {
  /** The result is where the others look for it, or there will be none. Never throws, and waits for nothing. */
  release(): void;
}

export interface Leases {
  /** Undefined while another edge has it. Who cannot be told whether another one has it gets it. Never rejects. */
  take(question: string): Promise<Lease | undefined>;
}

/** An edge without siblings: there is nobody to wait for. */
export const FREE_LEASES: Leases = { take: async () => ({ release: () => undefined }) };

/** A holder that has died is in nobody's way for longer; one that is slower than this is not waited for. */
export const LEASE_LIFE = seconds(3);
/** For what nobody here can answer yet: a little longer than a dead holder's lease. */
export const COLD_PATIENCE = seconds(4);
/** Between two looks of whoever waits. */
const LOOK_INTERVAL = ms(40);

export interface SiteQuestion<T> {
  readonly question: string;
  /** How long another edge's answer is waited for at most. */
  readonly patience: Milliseconds;
  /** What another edge has found out; asked for as well right after the lease was got. */
  readonly look: () => Promise<T | undefined>;
  readonly ask: (keepUntil: (kept: Promise<unknown>) => void) => Promise<T>;
}

/**
 * One edge of the site asks, the others take what it has found out from where it was kept. Always ends in an answer of
 * its own when the others' does not come: without a lease after `patience`, with it as soon as its holder has gone.
 */
export async function askOncePerSite<T>(leases: Leases, clock: Clock, asked: SiteQuestion<T>): Promise<T> {
  const until = clock.monotonic() + asked.patience;
  for (;;) {
    const lease = await leases.take(asked.question);
    let kept: Promise<unknown> | undefined;
    try {
      // Also with the lease: it may have been given back just now, by an edge that knows the answer.
      const found = await asked.look();
      if (found !== undefined) return found;
      if (lease !== undefined || clock.monotonic() >= until) {
        return await asked.ask((promise) => {
          kept = promise;
        });
      }
    } finally {
      if (lease !== undefined) releaseAfter(lease, kept);
    }
    await clock.sleep(ms(Math.min(LOOK_INTERVAL, Math.max(0, until - clock.monotonic()))));
  }
}

function releaseAfter(lease: Lease, kept: Promise<unknown> | undefined): void {
  const release = (): void => lease.release();
  if (kept === undefined) release();
  else kept.then(release, release);
}
