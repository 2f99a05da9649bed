import type { TooManyRequests } from '../../access/refusals.ts';
import type { AuditEntry } from '../../audit/audit-entry.ts';
import type { AuditOutbox } from '../../audit/audit-outbox.ts';
import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../observe/log.ts';
import type { WorkerMetrics } from '../../observe/metrics.ts';
import { Seldom } from '../../observe/seldom.ts';

const INTERVAL = seconds(60);

export interface RefusedRequestsParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: WorkerMetrics;
  readonly audit?: AuditOutbox | undefined;
}

/** Requests of callers who are over a limit: counted one by one, told once a minute. A flood of them must not become one of lines. */
export class RefusedRequests {
  readonly #parts: RefusedRequestsParts;
  readonly #seldom: Seldom;

  constructor(parts: RefusedRequestsParts) {
    this.#parts = parts;
    this.#seldom = new Seldom(parts.clock, INTERVAL);
  }

  /** @param entry what would go on record if it were the only one. */
  add(
    { limit }: TooManyRequests,
    trace: { readonly address: string; readonly user?: string | undefined },
    entry: Omit<AuditEntry, 'timestamp'> | undefined,
  ): void {
    const { log, metrics, audit } = this.#parts;
    metrics.limits.refused.inc({ limit });
    if (entry !== undefined) audit?.addSeldom(`${limit} ${trace.user ?? trace.address}`, entry);
    const { address, user } = trace;
    this.#seldom.run(limit, (leftOut) =>
      log.warn({ limit, address, ...(user !== undefined && { user }), leftOut }, 'refused: over the limit'),
    );
  }
}
