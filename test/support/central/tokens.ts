import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../src/lib/clock.ts';
import type { CentralRequest } from './request.ts';
import { errorShape, jsonShape, type Shape } from './shape.ts';

export interface AuthOptions {
  /** `token` is what Docker Hub and the like do; `basic` is what docker-registry does with an htpasswd file. */
  readonly mode: 'token' | 'basic';
  readonly tokenTtlSeconds?: number;
  /** Passwords by name. Without users, and in mode `token` only, anonymous tokens open everything. */
  readonly users?: Readonly<Record<string, string>>;
  /** Who may read what; by default anybody with a name when there are users, and everybody otherwise. */
  readonly mayPull?: (user: string | undefined, repository: string) => boolean;
  /** Where tokens are issued: by the registry itself, or on a port of its own. */
  readonly issuer?: 'same' | 'other';
}

function scopeOf({ kind, repository }: CentralRequest): string | undefined {
  if (kind === 'catalog') return 'registry:catalog:*';
  return repository === undefined ? undefined : `repository:${repository}:pull`;
}

interface Token {
  readonly user: string | undefined;
  readonly scopes: ReadonlySet<string>;
  readonly expiresAtMs: number;
}

/** The central's door: says who may have what, issues tokens, and counts. */
export class Door {
  readonly #options: AuthOptions;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Token>();
  readonly #requests: string[] = [];
  realm = '';

  constructor(options: AuthOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** How many tokens were asked for: for one scope (`repository:library/x:pull`), or at all. */
  tokenRequests(scope?: string): number {
    return this.#requests.filter((asked) => scope === undefined || asked.split(' ').includes(scope)).length;
  }

  /** Every token that was issued stops working, before its time. */
  revokeAll(): void {
    this.#tokens.clear();
  }

  /** `undefined` when the request may pass, otherwise the answer. */
  refuse(request: CentralRequest): Shape | undefined {
    const scope = scopeOf(request);
    const { authorization } = request.headers;
    if (this.#options.mode === 'basic') {
      const user = this.#userOf(authorization);
      if (user !== undefined && this.#mayPull(user, request.repository)) return undefined;
      if (user !== undefined) return errorShape(403, 'DENIED');
      return errorShape(401, 'UNAUTHORIZED', { 'www-authenticate': 'Basic realm="central"' });
    }
    const token = this.#tokens.get(authorization?.replace(/^bearer /i, '') ?? '');
    const valid = token !== undefined && token.expiresAtMs > this.#clock.now();
    if (valid && (scope === undefined || token.scopes.has(scope))) return undefined;
    const parameters = [
      `realm="${this.realm}"`,
      'service="central"',
      ...(scope === undefined ? [] : [`scope="${scope}"`]),
      ...(authorization === undefined ? [] : [`error="${valid ? 'insufficient_scope' : 'invalid_token'}"`]),
    ];
    return errorShape(401, 'UNAUTHORIZED', { 'www-authenticate': `Bearer ${parameters.join(',')}` });
  }

  /** The token endpoint (distribution's token authentication, GET). */
  issue(request: CentralRequest): Shape {
    const asked = request.query.getAll('scope').flatMap((scope) => scope.split(' '));
    this.#requests.push(asked.join(' '));
    const { authorization } = request.headers;
    const user = this.#userOf(authorization);
    if (authorization !== undefined && user === undefined) {
      return errorShape(401, 'UNAUTHORIZED', { 'www-authenticate': 'Basic realm="central"' });
    }
    // As Docker Hub does it: a token is always given, but only with what the user may have.
    const scopes = asked.filter((scope) => this.#mayPull(user, /^repository:(.+):[^:]*$/.exec(scope)?.[1]));
    const token = randomBytes(24).toString('base64url');
    const ttlSeconds = this.#options.tokenTtlSeconds ?? 300;
    const issuedAt = this.#clock.now();
    this.#tokens.set(token, { user, scopes: new Set(scopes), expiresAtMs: issuedAt + ttlSeconds * 1000 });
    return jsonShape(200, {
      token,
      access_token: token,
      expires_in: ttlSeconds,
      issued_at: new Date(issuedAt).toISOString(),
    });
  }

  #mayPull(user: string | undefined, repository: string | undefined): boolean {
    const { mayPull, users } = this.#options;
    if (repository === undefined) return true;
    if (mayPull !== undefined) return mayPull(user, repository);
    return users === undefined || user !== undefined;
  }

  /** The name in a Basic header whose password is right. */
  #userOf(authorization: string | undefined): string | undefined {
    const [, encoded] = /^basic (.+)$/i.exec(authorization ?? '') ?? [];
    const text = Buffer.from(encoded ?? '', 'base64').toString('utf8');
    const colon = text.indexOf(':');
    const name = text.slice(0, Math.max(0, colon));
    const { users = {} } = this.#options;
    return users[name] === text.slice(colon + 1) ? name : undefined;
  }
}
