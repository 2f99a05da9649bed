import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AuditOutbox } from '../audit/audit-outbox.ts';
import { authorize } from '../access/authorize.ts';
import { identify, type Caller } from '../access/identify.ts';
import { canonicalAddress } from '../access/ip-rules.ts';
import type { EdgeCache } from '../cache/edge-cache.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import { referenceText } from '../oci/reference.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { Log } from '../observe/log.ts';
import type { WorkerMetrics } from '../observe/metrics.ts';
import { jsonAnswer, type Answer, type RequestFacts } from '../registry/answer.ts';
import { answerBlob } from '../registry/blobs.ts';
import { answerCatalog } from '../registry/catalog.ts';
import { answerReferrers, answerTags } from '../registry/listings.ts';
import { answerManifest } from '../registry/manifests.ts';
import { parseTarget, type Route } from '../registry/route.ts';
import { selectUpstream, type UpstreamNames } from '../registry/select-upstream.ts';
import { auditEntryOf } from './audit-record.ts';
import { errorAnswer, sendAnswer } from './answers.ts';
import { checkRequest, MalformedRequest } from './request-check.ts';

export interface PipelineParts {
  readonly cache: EdgeCache;
  readonly upstreams: readonly UpstreamNames[];
  readonly log: Log;
  readonly metrics: WorkerMetrics;
  /** Absent where no record of accesses is kept. */
  readonly audit?: AuditOutbox | undefined;
}

/** What the access line tells; filled in as far as the request comes. */
interface Trace {
  readonly requestId: string;
  readonly address: string;
  route: Route['kind'] | 'none';
  upstream?: string;
  repository?: string;
  reference?: string;
}

type ContentRoute = Extract<Route, { kind: 'blob' | 'manifest' }>;

/**
 * A request's way: parse → identify → authorize → limit → route → answer. Each step takes what only the one before it
 * makes (a parsed route, a caller, a granted repository), so that none can be left out or come earlier.
 */
export class Pipeline {
  readonly #parts: PipelineParts;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
  }

  /** Never rejects: whatever happens becomes an answer and a line in the log. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedAt = performance.now();
    const trace: Trace = {
      requestId: randomUUID(),
      address: canonicalAddress(request.socket.remoteAddress ?? ''),
      route: 'none',
    };
    try {
      const answer = await this.#answerOrError(request, trace);
      const sent = await sendAnswer(response, answer, trace.requestId);
      this.#record(request, trace, answer, sent, performance.now() - startedAt);
    } catch (err) {
      // An answer that cannot even be written, such as for a header that Node refuses, costs its own connection only.
      this.#parts.log.error({ err, ...trace }, 'answer failed');
      response.destroy();
    }
  }

  async #answerOrError(request: IncomingMessage, trace: Trace): Promise<Answer> {
    try {
      return await this.#answer(request, trace);
    } catch (error) {
      if (!(error instanceof RegistryError))
        this.#parts.log.error({ err: error, ...trace }, 'request failed');
      const answer = errorAnswer(error, request.method === 'HEAD');
      if (!(error instanceof MalformedRequest)) return answer;
      return { ...answer, status: error.status, headers: { ...answer.headers, connection: 'close' } };
    }
  }

  async #answer(request: IncomingMessage, trace: Trace): Promise<Answer> {
    checkRequest(request);
    const { route, namespace } = parseTarget(request.url ?? '');
    trace.route = route.kind;
    const caller = identify(trace.address);
    const head = request.method === 'HEAD';
    if (request.method !== 'GET' && !head) throw unsupported(request);
    if (route.kind === 'ping') return jsonAnswer({}, head);
    const host = request.headers.host;
    const list = { head, namespace };
    if (route.kind === 'catalog') {
      const visible = (repository: RepositoryRef): boolean => isVisible(caller, repository);
      const asked = { ...list, host, page: route.page, visible };
      return await answerCatalog(this.#parts.cache, this.#parts.upstreams, asked);
    }
    if (route.kind === 'upload') throw unsupported(request);
    const repository = selectUpstream(this.#parts.upstreams, { name: route.name, namespace, host });
    trace.upstream = repository.upstream;
    trace.repository = repository.name;
    const granted = this.#limit(caller, authorize(caller, repository));
    if (route.kind === 'tags') return await answerTags(this.#parts.cache, granted, route, list);
    if (route.kind === 'referrers') {
      trace.reference = route.digest;
      return await answerReferrers(this.#parts.cache, granted, route, list);
    }
    return await this.#route(route, granted, factsOf(request), trace);
  }

  /** Rate limits stand here: after the caller is known, before anything is looked up. */
  #limit(_caller: Caller, granted: GrantedRepository): GrantedRepository {
    return granted;
  }

  async #route(
    route: ContentRoute,
    repository: GrantedRepository,
    facts: RequestFacts,
    trace: Trace,
  ): Promise<Answer> {
    const { cache } = this.#parts;
    switch (route.kind) {
      case 'blob':
        trace.reference = route.digest;
        return await answerBlob(cache, repository, route.digest, facts);
      case 'manifest':
        trace.reference = referenceText(route.reference);
        return await answerManifest(cache, repository, route.reference, facts);
    }
  }

  #record(
    request: IncomingMessage,
    trace: Trace,
    answer: Answer,
    sent: Awaited<ReturnType<typeof sendAnswer>>,
    durationMs: number,
  ): void {
    const { metrics, log, audit } = this.#parts;
    const cache = answer.result ?? 'none';
    metrics.requests.inc({ route: trace.route, status: answer.status, cache });
    metrics.duration.observe({ route: trace.route }, durationMs / 1000);
    metrics.servedBytes.inc(sent.bytes);
    const { upstream, repository } = trace;
    const saved = answer.result !== undefined && answer.result !== 'miss' && answer.result !== 'bypass';
    if (saved && upstream !== undefined && repository !== undefined)
      metrics.savings.add(upstream, repository, sent.bytes);
    if (sent.broken !== undefined) metrics.brokenAnswers.inc({ by: sent.broken });
    const entry =
      audit &&
      auditEntryOf({
        ...trace,
        method: request.method,
        status: answer.status,
        bytes: sent.bytes,
        error: answer.error,
      });
    if (entry !== undefined) audit?.add(entry);
    // What we could not deliver is ours to know; a client that went away is not.
    log[sent.broken === 'blob' ? 'warn' : 'info'](
      {
        ...trace,
        method: request.method,
        status: answer.status,
        bytes: sent.bytes,
        durationMs: Math.round(durationMs * 10) / 10,
        cache,
        ...(sent.broken !== undefined && { broken: sent.broken, cause: causeOf(sent.cause) }),
      },
      'request',
    );
  }
}

/** A list shows what its reader could also ask for by name, and nothing else. */
function isVisible(caller: Caller, repository: RepositoryRef): boolean {
  try {
    authorize(caller, repository);
    return true;
  } catch (error) {
    if (error instanceof RegistryError) return false;
    throw error;
  }
}

function factsOf(request: IncomingMessage): RequestFacts {
  const { range, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = request.headers;
  return {
    head: request.method === 'HEAD',
    range,
    ifRange: Array.isArray(ifRange) ? ifRange[0] : ifRange,
    ifNoneMatch,
  };
}

function unsupported(request: IncomingMessage): RegistryError {
  return new RegistryError(
    'UNSUPPORTED',
    `this edge serves pulls; ${request.method ?? 'this'} is not available here`,
  );
}

function causeOf(cause: unknown): string | undefined {
  return cause instanceof Error ? cause.message : undefined;
}
