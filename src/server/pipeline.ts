import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Access, Action } from '../access/authorize.ts';
import type { Caller } from '../access/caller.ts';
import type { RequestLimits } from '../access/request-limits.ts';
import type { EdgeCache } from '../cache/edge-cache.ts';
import type { Clock } from '../lib/clock.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import { referenceText } from '../oci/reference.ts';
import type { RepositoryName } from '../oci/repository-name.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { Log } from '../observe/log.ts';
import { actionOf, MethodUnsupported } from '../registry/actions.ts';
import { jsonAnswer, type Answer, type RequestFacts } from '../registry/answer.ts';
import { answerBlob } from '../registry/blobs.ts';
import { answerCatalog } from '../registry/catalog.ts';
import { answerReferrers, answerTags } from '../registry/listings.ts';
import { answerManifest } from '../registry/manifests.ts';
import { parseTarget, type RepositoryRoute, type Route } from '../registry/route.ts';
import { selectUpstream, upstreamOf, type UpstreamNames } from '../registry/select-upstream.ts';
import { errorAnswer, sendAnswer } from './answers.ts';
import { letBodyEnd } from './body-pace.ts';
import type { Pushes } from './pushes.ts';
import { authorizeRequest, identifyCaller, objectOf, readableOf } from './request-access.ts';
import type { RequestRecords, Trace } from './request-records.ts';
import { checkRequest, MalformedRequest } from './request-check.ts';

/** What a reload replaces. */
export interface InForce {
  readonly access: Access;
  readonly limits: RequestLimits;
}

export interface PipelineParts {
  /** What is in force now. */
  readonly inForce: () => InForce;
  /** Canonical address of the client: the peer's, or what a trusted proxy says. */
  readonly addressOf: (request: IncomingMessage) => string;
  /** Of a connection whose requests say nothing of another. */
  readonly addressOfPeer: (socket: Socket) => string;
  readonly cache: EdgeCache;
  readonly upstreams: readonly UpstreamNames[];
  readonly pushes: Pushes;
  readonly clock: Clock;
  readonly log: Log;
  readonly records: RequestRecords;
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
  readonly repository: GrantedRepository;
}

/**
 * A request's way: limit (by address) → parse → identify → limit (by name) → authorize → route → answer. Each step takes what
 * only the one before it makes (a parsed route, a caller, a granted repository), so that none can be left out or come earlier.
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
      address: this.#parts.addressOf(request),
      route: 'none',
    };
    try {
      const answer = await this.#answerOrError({ request, response }, trace);
      const sent = await sendAnswer(response, answer, trace.requestId);
      this.#parts.records.add(
        { ...trace, method: request.method },
        answer,
        sent,
        performance.now() - startedAt,
      );
      if (!request.complete) void letBodyEnd(request, this.#parts.clock);
    } catch (err) {
      // An answer that cannot even be written, such as for a header that Node refuses, costs its own connection only.
      this.#parts.log.error({ err, ...trace }, 'answer failed');
      response.destroy();
    }
  }

  async #answerOrError(exchange: Exchange, trace: Trace): Promise<Answer> {
    try {
      return await this.#answer(exchange, trace);
    } catch (error) {
      if (!(error instanceof RegistryError))
        this.#parts.log.error({ err: error, ...trace }, 'request failed');
      const answer = errorAnswer(error, exchange.request.method === 'HEAD');
      if (!(error instanceof MalformedRequest)) return answer;
      return { ...answer, status: error.status, headers: { ...answer.headers, connection: 'close' } };
    }
  }

  async #answer(exchange: Exchange, trace: Trace): Promise<Answer> {
    const { request } = exchange;
    const { access, limits } = this.#parts.inForce();
    const queued = limits.arrive(trace.address);
    if (queued !== undefined) await queued;
    checkRequest(request);
    const { route, namespace } = parseTarget(request.url ?? '');
    trace.route = route.kind;
    const caller = await identifyCaller(access, request, trace);
    const turn = limits.admit(caller);
    if (turn !== undefined) await turn;
    const method = request.method ?? '';
    const action = actionOf(route, method);
    const { host } = request.headers;
    if (route.kind === 'ping' || route.kind === 'catalog')
      return await this.#answerUnnamed(route, action, { access, caller, namespace, request });
    const repository = selectUpstream(this.#parts.upstreams, { name: route.name, namespace, host });
    trace.upstream = repository.upstream;
    trace.repository = repository.name;
    const wanted = { repository, name: route.name, object: objectOf(route), host };
    // Who may not even look is not told what can be done here.
    const granted = await authorizeRequest(
      access,
      caller,
      { ...wanted, action: action ?? 'pull' },
      { route, trace },
    );
    if (action === undefined) throw this.#unsupported(method, route, repository);
    if (action === 'pull') return await this.#route(route, granted, request, { namespace, trace });
    const readable: GrantedChange['readable'] = async (source, name) =>
      await readableOf(access, caller, { repository: source, name, action: 'pull', object: undefined, host });
    return await this.#push(exchange, { route, namespace, readable, repository: granted }, trace);
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
    const judged = access.ping(caller, host, () => upstreamOf(upstreams, { namespace, host }).name);
    if (judged !== undefined) await judged;
    if (action === undefined) throw new MethodUnsupported(`${request.method ?? ''} is not available here`);
    if (route.kind === 'ping') return jsonAnswer({}, head);
    const visible = (repository: RepositoryRef, name: RepositoryName): boolean =>
      access.isVisible(caller, repository, name);
    const asked = { head, namespace, host, page: route.page, visible };
    return await answerCatalog(this.#parts.cache, upstreams, asked);
  }

  async #route(
    route: RepositoryRoute,
    repository: GrantedRepository,
    request: IncomingMessage,
    { namespace, trace }: { readonly namespace: string | undefined; readonly trace: Trace },
  ): Promise<Answer> {
    const { cache } = this.#parts;
    const list = { head: request.method === 'HEAD', namespace };
    switch (route.kind) {
      case 'blob':
        trace.reference = route.digest;
        return await answerBlob(cache, repository, route.digest, factsOf(request));
      case 'manifest':
        trace.reference = referenceText(route.reference);
        return await answerManifest(cache, repository, route.reference, factsOf(request));
      case 'tags':
        return await answerTags(cache, repository, route, list);
      case 'referrers':
        trace.reference = route.digest;
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
    if (route.kind === 'blob') trace.reference = route.digest;
    if (route.kind === 'manifest') trace.reference = referenceText(route.reference);
    const received = (bytes: number): void => {
      trace.received = (trace.received ?? 0) + bytes;
    };
    return await this.#parts.pushes.answer({ ...exchange, ...granted, target, route, repository, received });
  }

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
