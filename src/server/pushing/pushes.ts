import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EdgeCache } from '../../cache/edge-cache.ts';
import { RegistryError } from '../../oci/error-codes.ts';
import type { GrantedRepository } from '../../oci/granted.ts';
import type { RepositoryName } from '../../oci/repository-name.ts';
import type { RepositoryRef } from '../../oci/repository-ref.ts';
import type { Log } from '../../observe/log.ts';
import type { WorkerMetrics } from '../../observe/metrics.ts';
import { NO_BODY, type Answer } from '../../registry/answer.ts';
import { answerPush, type PushRoute } from '../../registry/push/push.ts';
import type { UpstreamReply } from '../../registry/push/upstream-reply.ts';
import { selectUpstream, type UpstreamNames } from '../../registry/select-upstream.ts';
import type { BodyPace } from './body-pace.ts';
import { ClientGone, PushProxy, type PushTarget } from './push-proxy.ts';

export interface PushesParts extends BodyPace {
  /** By the upstream's name; pushes to all others are off. */
  readonly targets: ReadonlyMap<string, PushTarget>;
  readonly upstreams: readonly UpstreamNames[];
  readonly cache: EdgeCache;
  readonly log: Log;
  readonly metrics: WorkerMetrics;
}

/** A request that may change `repository`. */
export interface GrantedPush {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: PushTarget;
  /** The same caller's right to read, for the source of a mount. */
  readonly readable: (
    repository: RepositoryRef,
    name: RepositoryName,
  ) => Promise<GrantedRepository | undefined>;
  readonly route: PushRoute;
  readonly namespace: string | undefined;
  /** The client's credentials are for this edge: the upstream is not to see them. */
  readonly keepsCredentials: boolean;
  readonly repository: GrantedRepository;
  readonly received: (bytes: number) => void;
}

/** As nginx logs it: nobody is there to read it. */
const CLIENT_GONE: Answer = { status: 499, headers: {}, body: NO_BODY };

/** The pushes of one worker. */
export class Pushes {
  readonly #parts: PushesParts;
  readonly #proxy: PushProxy;

  constructor(parts: PushesParts) {
    this.#parts = parts;
    this.#proxy = new PushProxy(parts);
  }

  /** Undefined where pushes are off. */
  target(upstream: string): PushTarget | undefined {
    return this.#parts.targets.get(upstream);
  }

  /** @throws {RegistryError} when the upstream cannot be reached, or says what must not be passed on. */
  async answer(push: GrantedPush): Promise<Answer> {
    const { cache, metrics } = this.#parts;
    const { request, response, target } = push;
    const { method = '' } = request;
    const { authorization, ...others } = request.headers;
    const own = authorization !== undefined && !push.keepsCredentials;
    const headers = own ? { ...others, authorization } : others;
    try {
      const answer = await answerPush(
        { ...push, upstream: target, method, headers },
        {
          readable: (name) => this.#readable(push, headers.host, name),
          send: async (path, passed) => {
            const reply = await this.#proxy.send(request, response, {
              target,
              path,
              headers: passed,
              received: (bytes) => {
                push.received(bytes);
                metrics.pushedBytes.inc({ upstream: target.name }, bytes);
              },
            });
            return reply.status === 401 ? this.#withJudgedChallenge(target, reply) : reply;
          },
          changed: (notice) => cache.pushed(notice),
        },
      );
      // Its challenge would have the client show another's token service what it has for this edge.
      if (push.keepsCredentials && answer.status === 401)
        throw new RegistryError(
          'DENIED',
          'the upstream asks for credentials, and this edge has none for pushes',
        );
      return answer;
    } catch (error) {
      if (error instanceof ClientGone) return CLIENT_GONE;
      this.#tell(target, error);
      throw error;
    }
  }

  /** Undefined where there is no such upstream, or the caller may not read. */
  async #readable(
    { readable, namespace }: GrantedPush,
    host: string | undefined,
    name: RepositoryName,
  ): Promise<GrantedRepository | undefined> {
    try {
      return await readable(selectUpstream(this.#parts.upstreams, { name, namespace, host }), name);
    } catch (error) {
      if (error instanceof RegistryError) return undefined;
      throw error;
    }
  }

  /** A client without one is refused all the same, and takes its password nowhere. */
  #withJudgedChallenge(target: PushTarget, reply: UpstreamReply): UpstreamReply {
    const { 'www-authenticate': said, ...headers } = reply.headers;
    try {
      const [challenge] = target.challenges(said);
      return { ...reply, headers: { ...headers, ...(challenge && { 'www-authenticate': challenge }) } };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#parts.log.warn({ upstream: target.name, reason }, 'a challenge is not handed on');
      return { ...reply, headers };
    }
  }

  /** What the upstream did wrong is the operator's to know; what the client did wrong is in its answer. */
  #tell({ name }: PushTarget, error: unknown): void {
    if (!(error instanceof RegistryError)) return;
    if (error.code !== 'UNAVAILABLE' && error.code !== 'BAD_UPSTREAM') return;
    const cause = error.cause instanceof Error ? error.cause.message : undefined;
    this.#parts.log.warn({ upstream: name, reason: error.message, cause }, 'push failed');
  }
}
