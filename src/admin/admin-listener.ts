import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import { addressKey } from '../access/caller-key.ts';
import type { ActFacts, OperatorAct } from '../audit/audit-entry.ts';
import { seconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { Seldom } from '../observe/seldom.ts';
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
  readonly namesHere: (client: string) => readonly string[] | undefined;
  /** Who has connected, or whom a trusted proxy names: its canonical address, and why it is not let in. */
  readonly clientOf: (request: IncomingMessage) => { readonly address: string; readonly refused?: string };
  readonly clock: Clock;
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
/** How often the same refusal of an address goes on record. */
const REFUSALS_INTERVAL = seconds(60);

/**
 * Health, metrics and the admin API. `/healthz` and `/readyz` answer everybody who gets in: what asks them (an
 * orchestrator, a load balancer) has no name to give, and they say nothing but alive and serving. On the loopback interface
 * looking is free; all else takes an operator.
 */
export function serveAdmin(server: Server | SecureServer, parts: AdminParts): void {
  server.maxConnections = MAX_CONNECTIONS;
  // Node drops headers over its count without a word; `maxHeaderSize` bounds them.
  server.maxHeadersCount = 0;
  const refusals = new Seldom(parts.clock, REFUSALS_INTERVAL);
  const handle = (request: IncomingMessage, response: ServerResponse): void =>
    void new AdminRequest({ ...parts, refusals }, request, response).answer();
  for (const event of ['request', 'checkExpectation']) server.on(event, handle);
  server.on('clientError', refuseConnection);
}

interface AdminRequestParts extends AdminParts {
  /** Of nobody known. */
  readonly refusals: Seldom;
}

/** One request, from its guard to its place on record. */
class AdminRequest {
  readonly #parts: AdminRequestParts;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #address: string;
  /** Why the client is not let in at all. */
  readonly #refused: string | undefined;
  readonly #requestId = randomUUID();

  constructor(parts: AdminRequestParts, request: IncomingMessage, response: ServerResponse) {
    this.#parts = parts;
    this.#request = request;
    this.#response = response;
    const { address, refused } = parts.clientOf(request);
    this.#address = address;
    this.#refused = refused;
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
    const { gate, namesHere } = this.#parts;
    const open = route.kind === 'health' || route.kind === 'ready';
    const names = namesHere(this.#address);
    const changes = route.kind === 'command' && route.command.act !== undefined;
    const looksHere = names !== undefined && !changes;
    const refused = this.#refused;
    const over = refused === undefined && (open || looksHere) ? undefined : gate.arrive(this.#address);
    if (over !== undefined) return this.#refuse(route, over);
    if (refused !== undefined)
      return this.#refuse(route, { status: 403, reason: `this client is not let in: ${refused}` });
    if (open) return { user: undefined };
    const refusal = browserRefusal(this.#request, { names, changes });
    if (refusal !== undefined) return this.#refuse(route, refusal);
    if (looksHere) return { user: undefined };
    const operator = await gate.demand(this.#request, this.#address);
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
    const { status, reason, user, challenges, retryAfterSeconds } = refusal;
    const response = this.#response;
    if (challenges !== undefined) response.setHeader('www-authenticate', [...challenges]);
    if (retryAfterSeconds !== undefined) response.setHeader('retry-after', retryAfterSeconds);
    // What else was sent is not read.
    if (this.#request.method !== 'GET') response.setHeader('connection', 'close');
    sendJson(response, status, { error: reason });
    const action = (route.kind === 'command' ? route.command.act : undefined) ?? 'admin';
    // A flood of tries must not become a flood of lines: those before it are on record.
    if (status === 429) return undefined;
    const decision = 'deny';
    if (user !== undefined) this.#record(action, reason, { user, decision, status });
    else
      this.#parts.refusals.run(`${action} ${reason} ${addressKey(this.#address)}`, (leftOut) => {
        const before = leftOut === 0 ? '' : ` (${leftOut} more before)`;
        this.#record(action, `${reason}${before}`, { user: 'anonymous', decision, status });
      });
    return undefined;
  }

  #record(action: OperatorAct, reason: string, facts: Pick<ActFacts, 'user' | 'decision' | 'status'>): void {
    this.#parts.acted(action, reason, { ...facts, ip: this.#address, bytes: 0, requestId: this.#requestId });
  }
}
