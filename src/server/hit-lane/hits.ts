import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { EdgeCache } from '../../cache/edge-cache.ts';
import type { GrantedRepository } from '../../oci/granted.ts';
import type { Answer } from '../../registry/answer.ts';
import { blobAnswer } from '../../registry/blobs.ts';
import { manifestAnswer } from '../../registry/manifests.ts';
import { parseTarget, type Route } from '../../registry/route.ts';
import { selectUpstream } from '../../registry/select-upstream.ts';
import { headersOf } from '../answers.ts';
import type { PipelineParts } from '../pipeline.ts';
import type { Connections } from '../connections/connections.ts';
import { shownCertificate } from '../../access/edge/shown-certificate.ts';
import { objectOf, referenceOf, traceCaller, traceGranted } from '../request-access.ts';
import { originOf } from '../../access/edge/challenges.ts';
import type { Trace } from '../records/request-records.ts';
import { KEEP_ALIVE_MS } from '../keep-alive.ts';
import type { RequestHead } from './request-head.ts';

export interface HitsParts extends Pick<
  PipelineParts,
  'inForce' | 'upstreams' | 'cache' | 'records' | 'clock'
> {
  readonly connections: Connections;
}

/** What fits into a socket's own buffer: nobody waits for a slow reader. */
const MAX_BODY_BYTES = 64 * 1024;

/** No end of a line, and nothing else that is not to be seen. */
const PLAIN = /^[\x20-\x7e]*$/;

/** As Node says it. */
const KEPT = `Connection: keep-alive\r\nKeep-Alive: timeout=${KEEP_ALIVE_MS / 1000}`;

/**
 * The pipeline for what nobody has to be waited for: the same steps with the same parts, and no answer where one of them has
 * none at once.
 */
export class Hits {
  readonly #parts: HitsParts;
  #second = 0;
  #date = '';

  constructor(parts: HitsParts) {
    this.#parts = parts;
  }

  /** @param last whether the connection ends behind it. */
  find(head: RequestHead, socket: Socket, last: boolean): Buffer | undefined {
    const startedAt = performance.now();
    const { connections, records } = this.#parts;
    const connection = connections.of(socket);
    const address = connection?.address;
    if (connection === undefined || address === undefined) return undefined;
    // No header of such a request names another client, so it is who has connected.
    const trace: Trace = { requestId: randomUUID(), address, route: 'none' };
    const answer = this.#answerOrNothing(head, socket, trace);
    if (answer === undefined) return undefined;
    const bytes = this.#written(answer, trace.requestId, last);
    if (bytes === undefined) return undefined;
    connections.served(connection);
    const content = answer.body.kind === 'bytes' ? answer.body.content.byteLength : 0;
    const took = performance.now() - startedAt;
    records.add({ ...trace, method: head.method }, answer, { bytes: content, broken: undefined }, { took });
    return bytes;
  }

  /** What is refused or goes wrong is the pipeline's to word: it comes to the same, and says so. */
  #answerOrNothing(head: RequestHead, socket: Socket, trace: Trace): Answer | undefined {
    try {
      return this.#answer(head, socket, trace);
    } catch {
      return undefined;
    }
  }

  #answer(head: RequestHead, socket: Socket, trace: Trace): Answer | undefined {
    const { inForce, upstreams, cache } = this.#parts;
    const { route, namespace } = parseTarget(head.target);
    if (route.kind !== 'manifest' && route.kind !== 'blob') return undefined;
    const { access, limits } = inForce();
    const { host, authorization } = head;
    const { name } = route;
    const certificate = shownCertificate(socket)?.raw;
    const origin = originOf(socket instanceof TLSSocket, host);
    const evidence = { address: trace.address, authorization, certificate, origin };
    const caller = access.identify({ ...evidence, wanted: { name, action: 'pull' } });
    if (caller instanceof Promise) return leftToPipeline(caller);
    const repository = selectUpstream(upstreams, { name, namespace, host });
    const wanted = { repository, name, object: objectOf(route), host, action: 'pull' } as const;
    const granted = access.authorize(caller, wanted);
    if (granted instanceof Promise) return leftToPipeline(granted);
    const answer = atHand(cache, granted, route, head);
    if (answer === undefined) return undefined;
    // Last, since what is counted here and handed over after all is counted again.
    const turn = limits.arrive(trace.address) ?? limits.admit(caller);
    if (turn !== undefined) return leftToPipeline(turn);
    trace.route = route.kind;
    trace.upstream = repository.upstream;
    trace.repository = repository.name;
    trace.reference = referenceOf(route);
    traceCaller(caller, trace);
    traceGranted(access, caller, granted, trace);
    return answer;
  }

  /** Undefined for a header that Node would refuse to write. */
  #written(answer: Answer, requestId: string, last: boolean): Buffer | undefined {
    const lines = [`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}`];
    const headers = headersOf(answer, requestId);
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${String(value)}`);
    lines.push(`Date: ${this.#now()}`);
    if (!lines.every((line) => PLAIN.test(line))) return undefined;
    const head = `${lines.join('\r\n')}\r\n${last ? 'Connection: close' : KEPT}\r\n\r\n`;
    const content = answer.body.kind === 'bytes' ? answer.body.content : undefined;
    const bytes = Buffer.allocUnsafe(head.length + (content?.byteLength ?? 0));
    bytes.write(head, 'latin1');
    if (content !== undefined) bytes.set(content, head.length);
    return bytes;
  }

  /** RFC 9110 §6.6.1, to the second. */
  #now(): string {
    const second = Math.floor(this.#parts.clock.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(second * 1000).toUTCString();
    }
    return this.#date;
  }
}

/** It has begun: the pipeline asks the same at once, and is told what becomes of it. A rejection that nobody heard would end the process. */
function leftToPipeline(asked: Promise<unknown>): undefined {
  asked.catch(() => undefined);
  return undefined;
}

function atHand(
  cache: EdgeCache,
  granted: GrantedRepository,
  route: Extract<Route, { kind: 'manifest' | 'blob' }>,
  { method, ifNoneMatch }: RequestHead,
): Answer | undefined {
  const facts = { head: method === 'HEAD', ifNoneMatch };
  if (route.kind === 'blob') {
    const content = cache.blobAtHand(granted, route.digest);
    return content && blobAnswer(route.digest, content, facts);
  }
  const entry = cache.manifestAtHand(granted, route.reference);
  return entry && entry.content.byteLength <= MAX_BODY_BYTES
    ? manifestAnswer(entry, 'hit', facts)
    : undefined;
}
