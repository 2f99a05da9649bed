import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Access, Action } from '../access/authorize.ts';
import type { Caller } from '../access/caller.ts';
import { Denied, TooManyRequests } from '../access/refusals.ts';
import type { RequestLimits } from '../access/request-limits.ts';
import type { EdgeCache } from '../cache/edge-cache.ts';
import type { Clock } from '../lib/clock.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import type { RepositoryName } from '../oci/repository-name.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { Log } from '../observe/log.ts';
import { actionOf, MethodUnsupported } from '../registry/actions.ts';
import { jsonAnswer, type Answer, type RequestFacts } from '../registry/answer.ts';
import { answerBlob } from '../registry/blobs.ts';
import { answerCatalog } from '../registry/catalog.ts';
import { absentAnswer } from '../registry/absent.ts';
import { answerReferrers, answerTags, type ReferrersFacts } from '../registry/listings.ts';
import { answerManifest } from '../registry/manifests.ts';
import { parseTarget, type RepositoryRoute, type Route } from '../registry/route.ts';
import { selectUpstream, upstreamOf, type UpstreamNames } from '../registry/select-upstream.ts';
import { VisibleCatalogs } from '../registry/visible-catalog.ts';
import { errorAnswer, sendAnswer } from './answers.ts';
import { letBodyEnd } from './pushing/body-pace.ts';
import type { Client } from './connections/client-of.ts';
import type { Pushes } from './pushing/pushes.ts';
import { authorizeRequest, identifyCaller, objectOf, readableOf, referenceOf } from './request-access.ts';
import type { RequestRecords, Trace } from './records/request-records.ts';
import { checkRequest, MalformedRequest } from './request-check.ts';
import { answerTokenRequest, isTokenRequest, type TokenService } from './token-route.ts';

/** What a reload replaces. */
export interface InForce {
  readonly access: Access;
  readonly limits: RequestLimits;
  /** Absent where the edge gives no tokens. */
  readonly tokens?: TokenService | undefined;
}

export interface PipelineParts {
  /** What is in force now. */
  readonly inForce: () => InForce;
  /** The client: who has connected, or whom a trusted proxy names. */
  readonly clientOf: (request: IncomingMessage) => Client;
  readonly cache: EdgeCache;
  readonly upstreams: readonly UpstreamNames[];
  readonly pushes: Pushes;
  readonly clock: Clock;
  readonly log: Log;
  readonly records: RequestRecords;
}

/** An answer, and what it is a refusal by. */
interface Answered {
  readonly answer: Answer;
  readonly refusal?: TooManyRequests;
}

/** What a client sent, and what it is answered with. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

interface Asked {
  readonly access: Access;
  readonly caller: Caller;
  readonly namespace: string | undefined;
  readonly request: IncomingMessage;
}

/** A request that was let in to change something. */
interface GrantedChange {
  readonly readable: (
    repository: RepositoryRef,
    name: RepositoryName,
  ) => Promise<GrantedRepository | undefined>;
  readonly route: RepositoryRoute;
  readonly namespace: string | undefined;
  /** The client's credentials are for this edge: no upstream sees them. */
  readonly keepsCredentials: boolean;
  readonly repository: GrantedRepository;
}

/**
 * A request's way: limit (by address) → parse → identify → limit (by name) → authorize → route → answer. Each step takes what
 * only the one before it makes (a parsed route, a caller, a granted repository), so that none can be left out or come earlier.
 */
export class Pipeline {
  readonly #parts: PipelineParts;
  readonly #catalogs: VisibleCatalogs;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
    this.#catalogs = new VisibleCatalogs(parts.cache, parts.clock);
  }

  /** Never rejects: whatever happens becomes an answer and a line in the log. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedAt = performance.now();
    const { address, refused } = this.#parts.clientOf(request);
    const trace: Trace = {
      requestId: randomUUID(),
      address,
      ...(refused !== undefined && { denied: refused }),
      route: 'none',
    };
    try {
      const { answer, refusal } = await this.#answerOrError({ request, response }, trace);
      const sent = await sendAnswer(response, answer, trace.requestId);
      const took = performance.now() - startedAt;
      this.#parts.records.add({ ...trace, method: request.method }, answer, sent, { took, refusal });
      if (!request.complete) void letBodyEnd(request, this.#parts.clock);
    } catch (err) {
      // An answer that cannot even be written, such as for a header that Node refuses, costs its own connection only.
      this.#parts.log.error({ err, ...trace }, 'answer failed');
      response.destroy();
    }
  }

  async #answerOrError(exchange: Exchange, trace: Trace): Promise<Answered> {
    try {
      return { answer: await this.#answer(exchange, trace) };
    } catch (error) {
      if (!(error instanceof RegistryError))
        this.#parts.log.error({ err: error, ...trace }, 'request failed');
      const answer = errorAnswer(error, exchange.request.method === 'HEAD');
      if (error instanceof TooManyRequests) return { answer, refusal: error };
      if (!(error instanceof MalformedRequest)) return { answer };
      const headers = { ...answer.headers, connection: 'close' };
      return { answer: { ...answer, status: error.status, headers } };
    }
  }

  async #answer(exchange: Exchange, trace: Trace): Promise<Answer> {
    const { request, response } = exchange;
    const { access, limits, tokens } = this.#parts.inForce();
    const gone = (): AbortSignal => hungUp(response);
    const queued = limits.arrive(trace.address, gone);
    if (queued !== undefined) await queued;
    if (trace.denied !== undefined) throw new Denied('this client is not let in', false);
    checkRequest(request);
    if (tokens !== undefined && isTokenRequest(request)) {
      trace.route = 'token';
      return await answerTokenRequest(request, trace, { ...this.#parts, access, limits, tokens });
    }
    const { route, namespace } = parseTarget(request.url ?? '');
    trace.route = route.kind;
    const caller = await identifyCaller(access, request, trace, route);
    const turn = limits.admit(caller, gone);
    if (turn !== undefined) await turn;
    const method = request.method ?? '';
    const action = actionOf(route, method);
    const { host } = request.headers;
    if (route.kind === 'ping' || route.kind === 'catalog')
      return await this.#answerUnnamed(route, action, { access, caller, namespace, request });
    const repository = selectUpstream(this.#parts.upstreams, { name: route.name, namespace, host });
    trace.upstream = repository.upstream;
    trace.repository = repository.name;
    trace.reference = referenceOf(route);
    const wanted = { repository, name: route.name, object: objectOf(route), host };
    const granted = await authorizeRequest(access, caller, { ...wanted, action: action ?? 'pull' }, trace);
    // The same here and where there is no such repository.
    if (action === undefined) throw this.#unsupported(method, route, repository);
    if (granted === undefined) return absentAnswer(route, this.#listFacts(request, namespace, repository));
    if (action === 'pull') return await this.#route(route, granted, request, namespace);
    const readable: GrantedChange['readable'] = async (source, name) => {
      const mounted = { repository: source, name, action: 'pull', object: undefined, host } as const;
      return await readableOf(access, caller, mounted, (reason) =>
        this.#parts.records.mountRefused(source, trace, reason),
      );
    };
    const { keepsCredentials } = access;
    const change = { route, namespace, readable, keepsCredentials, repository: granted };
    const answer = await this.#push(exchange, change, trace);
    const pusher = answer.status < 300 ? await access.pusher(caller, repository.upstream) : undefined;
    if (pusher !== undefined) trace.user = pusher.user;
    return answer;
  }

  /** Ping and catalog: of no repository. */
  async #answerUnnamed(
    route: Extract<Route, { kind: 'ping' | 'catalog' }>,
    action: Action | undefined,
    { access, caller, namespace, request }: Asked,
  ): Promise<Answer> {
    const { host } = request.headers;
    const head = request.method === 'HEAD';
    const { upstreams } = this.#parts;
    const judged = access.ping(caller, () => upstreamOf(upstreams, { namespace, host }).name);
    if (judged !== undefined) await judged;
    if (action === undefined) throw new MethodUnsupported(`${request.method ?? ''} is not available here`);
    if (route.kind === 'ping') return jsonAnswer({}, head);
    if (!access.showsCatalog) throw new RegistryError('DENIED', 'the catalog is not shown by this edge');
    const visible = access.visibleTo(caller);
    const asked = { head, namespace, host, page: route.page, visible };
    return await answerCatalog(this.#parts.cache, upstreams, asked, this.#catalogs);
  }

  async #route(
    route: RepositoryRoute,
    repository: GrantedRepository,
    request: IncomingMessage,
    namespace: string | undefined,
  ): Promise<Answer> {
    const { cache } = this.#parts;
    const list = this.#listFacts(request, namespace, repository);
    switch (route.kind) {
      case 'blob':
        return await answerBlob(cache, repository, route.digest, factsOf(request));
      case 'manifest':
        return await answerManifest(cache, repository, route.reference, factsOf(request));
      case 'tags':
        return await answerTags(cache, repository, route, list);
      case 'referrers':
        return await answerReferrers(cache, repository, route, list);
      case 'upload':
        throw new MethodUnsupported('an upload is not pulled');
    }
  }

  /** Where pushes are off, nothing but a pull is there to be done. */
  async #push(
    exchange: Exchange,
    { route, repository, ...granted }: GrantedChange,
    trace: Trace,
  ): Promise<Answer> {
    const target = this.#parts.pushes.target(repository.upstream);
    if (target === undefined || route.kind === 'tags' || route.kind === 'referrers')
      throw this.#unsupported(exchange.request.method ?? '', route, repository);
    const received = (bytes: number): void => {
      trace.received = (trace.received ?? 0) + bytes;
    };
    return await this.#parts.pushes.answer({ ...exchange, ...granted, target, route, repository, received });
  }

  #listFacts(
    { method }: IncomingMessage,
    namespace: string | undefined,
    { upstream }: RepositoryRef,
  ): ReferrersFacts {
    const pushed = this.#parts.pushes.target(upstream) !== undefined;
    return { head: method === 'HEAD', namespace, pushed };
  }

  /** The push goes on without the mount, so its own entry does not tell. */
  #unsupported(method: string, route: Route, { upstream }: RepositoryRef): MethodUnsupported {
    if (this.#parts.pushes.target(upstream) !== undefined)
      return new MethodUnsupported(`${method} is not available here`, route);
    return new MethodUnsupported(`this edge serves pulls; ${method || 'this'} is not available here`);
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

/** Aborted when the answer cannot be sent any more. */
function hungUp(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return gone.signal;
}
