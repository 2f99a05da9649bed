import type { TooManyRequests } from '../../access/refusals.ts';
import { addressKey } from '../../access/caller-key.ts';
import type { AuditOutbox } from '../../audit/audit-outbox.ts';
import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { RepositoryRef } from '../../oci/repository-ref.ts';
import type { Log } from '../../observe/log.ts';
import type { WorkerMetrics } from '../../observe/metrics.ts';
import { Seldom } from '../../observe/seldom.ts';
import type { Answer } from '../../registry/answer.ts';
import type { Route } from '../../registry/route.ts';
import { actionOf, auditEntryOf } from './audit-record.ts';
import { RefusedRequests } from './refused-requests.ts';
import type { AccessTrace } from '../request-access.ts';
import type { SentBody } from '../send-body.ts';

/** What is told of a request; filled in as far as it comes. */
export interface Trace extends AccessTrace {
  readonly requestId: string;
  route: Route['kind'] | 'token' | 'none';
  upstream?: string;
  repository?: string;
  reference?: string | undefined;
  /** Body bytes of a push that came from the client. */
  received?: number;
}

/** A request as it ended. */
export interface EndedRequest extends Trace {
  readonly method: string | undefined;
}

/** How long it was from the request to the end of its answer, in milliseconds, and which limit it was refused by. */
export interface Ending {
  readonly took: number;
  readonly refusal?: TooManyRequests | undefined;
}

export interface RequestRecordsParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: WorkerMetrics;
  /** Absent where no record of accesses is kept. */
  readonly audit?: AuditOutbox | undefined;
}

const STRANGERS_INTERVAL = seconds(60);
/** Of requests that are no use, and of those that do not say who sends them. */
const NEVER_HEARD: ReadonlySet<number> = new Set([400, 401, 405, 408, 431]);

/** Counts what was answered, and puts it in the log and on record. */
export class RequestRecords {
  readonly #parts: RequestRecordsParts;
  readonly #refused: RefusedRequests;
  readonly #strangers: Seldom;

  constructor(parts: RequestRecordsParts) {
    this.#parts = parts;
    this.#refused = new RefusedRequests(parts);
    this.#strangers = new Seldom(parts.clock, STRANGERS_INTERVAL);
  }

  add(ended: EndedRequest, answer: Answer, sent: SentBody, { took, refusal }: Ending): void {
    const { metrics, audit } = this.#parts;
    const { status, result } = answer;
    metrics.answered(ended.route, status, result ?? 'none', took);
    metrics.servedBytes.inc(sent.bytes);
    const { upstream, repository } = ended;
    const saved = result !== undefined && result !== 'miss' && result !== 'bypass';
    if (saved && upstream !== undefined && repository !== undefined)
      metrics.savings.add(upstream, repository, sent.bytes);
    if (sent.broken !== undefined) metrics.brokenAnswers.inc({ by: sent.broken });
    const entry = audit && auditEntryOf({ ...ended, status, bytes: sent.bytes, error: answer.error });
    if (refusal !== undefined) return this.#refused.add(refusal, ended, entry);
    const kind = strangersRefusal(ended, answer);
    if (kind === undefined) {
      if (entry !== undefined) audit?.add(entry);
      this.#log(ended, answer, sent, took);
      return;
    }
    if (entry !== undefined) audit?.addSeldom(kind, entry);
    this.#strangers.run(kind, (leftOut) =>
      this.#log({ ...ended, ...(leftOut > 0 && { leftOut }) }, answer, sent, took),
    );
  }

  /** A mount named a source that its caller may not read: it goes on without. */
  mountRefused({ upstream, name }: RepositoryRef, trace: Trace, denied: string): void {
    const { requestId, address, user, reference } = trace;
    const source = { route: 'blob', method: 'GET', upstream, repository: name, status: 0, bytes: 0 } as const;
    const entry = auditEntryOf({ ...source, requestId, address, user, reference, denied });
    if (entry !== undefined) this.#parts.audit?.add(entry);
  }

  #log(
    ended: EndedRequest & { readonly leftOut?: number },
    { status, result }: Answer,
    sent: SentBody,
    durationMs: number,
  ): void {
    const { log } = this.#parts;
    // What we could not deliver is ours to know; a client that went away is not.
    const level = sent.broken === 'blob' ? 'warn' : 'info';
    if (!log.isLevelEnabled(level)) return;
    log[level](
      {
        ...ended,
        status,
        bytes: sent.bytes,
        durationMs: Math.round(durationMs * 10) / 10,
        cache: result ?? 'none',
        ...(sent.broken !== undefined && { broken: sent.broken, cause: causeOf(sent.cause) }),
      },
      'request',
    );
  }
}

/**
 * A refusal that costs whoever nobody knows no more than the asking: by what it was for, why, and from where, so that a flood of
 * them is told once a minute and takes no place from what others do. Undefined for what is told one by one.
 */
function strangersRefusal(
  { user, denied, route, method, address }: EndedRequest,
  { status, error }: Answer,
): string | undefined {
  if (user !== undefined) return undefined;
  const notLetIn = denied !== undefined && route === 'none';
  if (!notLetIn && !NEVER_HEARD.has(status)) return undefined;
  return `${actionOf({ route, method })} ${status} ${denied ?? error ?? ''} ${addressKey(address)}`;
}

function causeOf(cause: unknown): string | undefined {
  return cause instanceof Error ? cause.message : undefined;
}
