import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import { canonicalAddress } from '../access/ip-rules.ts';
import type { ActFacts, OperatorAct } from '../audit/audit-entry.ts';
import { refuseConnection, send, sendJson, sendLine, setStrictHeaders } from './answers.ts';
import { browserRefusal, type Refusal } from './browser-guard.ts';
import { carryOut, readAsked, runningOf, type Command, type Commanded } from './commands.ts';
import type { NoOperator, OperatorGate } from './operators.ts';
import { routeOf, type AdminRoute } from './routes.ts';

export interface AdminParts {
  /**
   * Set on the loopback interface, where whoever is on this host may look: further names by which it may be asked for.
   * Undefined: only operators may.
   */
  readonly namesHere: () => readonly string[] | undefined;
  /** True while clients are served. */
  readonly ready: () => boolean;
  readonly exposition: () => Promise<{ contentType: string; text: string }>;
  readonly edge: Commanded;
  readonly gate: OperatorGate;
  /** For the record. */
  readonly acted: (action: OperatorAct, reason: string, facts: ActFacts) => void;
  readonly failed: (error: unknown) => void;
}

/** For the server that {@link serveAdmin} is given. */
export const ADMIN_OPTIONS: ServerOptions = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  connectionsCheckingInterval: 1000,
  // The guard says what was wrong.
  requireHostHeader: false,
};
const MAX_CONNECTIONS = 256;

/**
 * Health, metrics and the admin API. `/healthz` and `/readyz` answer everybody who gets in: what asks them (an
 * orchestrator, a load balancer) has no name to give, and they say nothing but alive and serving. On the loopback interface
 * looking is free; all else takes an operator.
 */
export function serveAdmin(server: Server | SecureServer, parts: AdminParts): void {
  server.maxConnections = MAX_CONNECTIONS;
  // Node drops headers over its count without a word; `maxHeaderSize` bounds them.
  server.maxHeadersCount = 0;
  const handle = (request: IncomingMessage, response: ServerResponse): void =>
    void new AdminRequest(parts, request, response).answer();
  for (const event of ['request', 'checkExpectation']) server.on(event, handle);
  server.on('clientError', refuseConnection);
}

/** One request, from its guard to its place on record. */
class AdminRequest {
  readonly #parts: AdminParts;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #address: string;
  readonly #requestId = randomUUID();

  constructor(parts: AdminParts, request: IncomingMessage, response: ServerResponse) {
    this.#parts = parts;
    this.#request = request;
    this.#response = response;
    this.#address = canonicalAddress(request.socket.remoteAddress ?? '');
  }

  async answer(): Promise<void> {
    const response = this.#response;
    setStrictHeaders(response);
    response.setHeader('x-request-id', this.#requestId);
    try {
      const route = routeOf(this.#request.method ?? '', this.#request.url ?? '');
      const named = await this.#admit(route);
      if (named !== undefined) await this.#route(route, named.user);
    } catch (error) {
      this.#parts.failed(error);
      if (!response.headersSent) sendJson(response, 500, { error: 'failed; see the log' });
    }
  }

  /** Undefined when it was refused, and answered so. */
  async #admit(route: AdminRoute): Promise<{ readonly user: string | undefined } | undefined> {
    if (route.kind === 'health' || route.kind === 'ready') return { user: undefined };
    const names = this.#parts.namesHere();
    const changes = route.kind === 'command' && route.command.act !== undefined;
    const refusal = browserRefusal(this.#request, { names, changes });
    if (refusal !== undefined) return this.#refuse(route, refusal);
    if (names !== undefined && !changes) return { user: undefined };
    const operator = await this.#parts.gate.demand(this.#request, this.#address);
    return 'status' in operator ? this.#refuse(route, operator) : operator;
  }

  async #route(route: AdminRoute, user: string | undefined): Promise<void> {
    const { ready, exposition } = this.#parts;
    const response = this.#response;
    switch (route.kind) {
      case 'health':
        return sendLine(response, 200, 'alive');
      case 'ready':
        return ready() ? sendLine(response, 200, 'serving') : sendLine(response, 503, 'not serving');
      case 'metrics': {
        const { contentType, text } = await exposition();
        return send(response, 200, contentType, text);
      }
      case 'command':
        return await this.#command(route.command, user);
      case 'unsupported':
        response.setHeader('allow', route.allow);
        return sendJson(response, 405, { error: `takes ${route.allow}` });
      case 'unknown':
        return sendJson(response, 404, {
          error: '/healthz, /readyz, /metrics and the commands below /api/v1 are served here',
        });
    }
  }

  async #command(command: Command, user: string | undefined): Promise<void> {
    const response = this.#response;
    const running = runningOf(this.#parts.edge);
    if (running === undefined) return sendJson(response, 503, { error: 'the edge is still starting' });
    const asked = command.act === undefined ? undefined : await readAsked(this.#request);
    const work = command.prepare(running, asked);
    if (typeof work === 'string') return sendJson(response, 400, { error: work });
    await carryOut(work, response, (status) => {
      // Whoever may look without a name decides nothing that is worth a line.
      if (user !== undefined)
        this.#record(work.act ?? command.act ?? 'admin', work.what, { user, decision: 'allow', status });
    });
  }

  #refuse(route: AdminRoute, refusal: Refusal & Partial<NoOperator>): undefined {
    const { status, reason, user = 'anonymous', challenges, retryAfterSeconds } = refusal;
    const response = this.#response;
    if (challenges !== undefined) response.setHeader('www-authenticate', [...challenges]);
    if (retryAfterSeconds !== undefined) response.setHeader('retry-after', retryAfterSeconds);
    // What else was sent is not read.
    if (this.#request.method !== 'GET') response.setHeader('connection', 'close');
    sendJson(response, status, { error: reason });
    const action = (route.kind === 'command' ? route.command.act : undefined) ?? 'admin';
    // A flood of tries must not become a flood of lines: those before it are on record.
    if (status !== 429) this.#record(action, reason, { user, decision: 'deny', status });
    return undefined;
  }

  #record(action: OperatorAct, reason: string, facts: Pick<ActFacts, 'user' | 'decision' | 'status'>): void {
    this.#parts.acted(action, reason, { ...facts, ip: this.#address, bytes: 0, requestId: this.#requestId });
  }
}
