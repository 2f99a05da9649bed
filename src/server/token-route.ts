import type { IncomingMessage } from 'node:http';
import type { Access } from '../access/authorize.ts';
import type { Caller, Evidence, Scope } from '../access/caller.ts';
import { basicAuthorization } from '../access/edge/authorization-header.ts';
import { BASIC_CHALLENGE, TOKEN_PATH } from '../access/edge/challenges.ts';
import type { IssuedToken } from '../access/edge/edge-tokens.ts';
import { CATALOG, parseScopes } from '../access/edge/token-scope.ts';
import { Unauthorized } from '../access/refusals.ts';
import type { RequestLimits } from '../access/request-limits.ts';
import { seconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { readBody } from '../lib/read-body.ts';
import { within } from '../lib/within.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';
import { repositoryKey, type RepositoryRef } from '../oci/repository-ref.ts';
import { jsonAnswer, type Answer } from '../registry/answer.ts';
import { MethodUnsupported } from '../registry/actions.ts';
import { selectUpstream, type Addressed, type UpstreamNames } from '../registry/select-upstream.ts';
import { evidenceOf, identify, type AccessTrace } from './request-access.ts';
import { MalformedRequest } from './request-check.ts';

/** Gives tokens to those who have said who they are. */
export interface TokenService {
  readonly ttlSeconds: number;
  issue(caller: Caller, certificate: Uint8Array | undefined, scopes: readonly Scope[]): Promise<IssuedToken>;
}

export interface TokenRouteParts {
  readonly access: Access;
  readonly limits: RequestLimits;
  readonly tokens: TokenService;
  readonly upstreams: readonly UpstreamNames[];
  readonly clock: Clock;
}

interface TokenRequest {
  readonly evidence: Evidence;
  readonly scopes: readonly Scope[];
}

const MAX_FORM_BYTES = 16 * 1024;
const FORM_DEADLINE = seconds(10);

export function isTokenRequest({ url = '' }: IncomingMessage): boolean {
  return url === TOKEN_PATH || url.startsWith(`${TOKEN_PATH}?`);
}

/**
 * Docker's token protocol: a `GET` with Basic credentials, and the OAuth2 `POST` that containerd sends first. A token is for the
 * repositories that were asked for, as far as roles allow them, and for nobody's renewal: whoever wants another says again who
 * they are. `service`, `account` and `client_id` say nothing that is not known.
 * @throws {Unauthorized | TooManyRequests | RegistryError}
 */
export async function answerTokenRequest(
  request: IncomingMessage,
  trace: AccessTrace,
  parts: TokenRouteParts,
): Promise<Answer> {
  const { access, limits, tokens } = parts;
  const { evidence, scopes } = await readTokenRequest(request, trace, parts.clock);
  const caller = await identified(access, trace, evidence);
  const turn = limits.admit(caller);
  if (turn !== undefined) await turn;
  const granted = scopes.flatMap((scope) => grantedOf(scope, caller, request.headers.host, parts));
  const { token, issuedAt } = await tokens.issue(caller, evidence.certificate, granted);
  const answer = jsonAnswer(
    {
      token,
      access_token: token,
      expires_in: tokens.ttlSeconds,
      issued_at: new Date(issuedAt).toISOString(),
      scope: granted.map(scopeText).join(' '),
    },
    false,
  );
  return { ...answer, headers: { ...answer.headers, 'cache-control': 'no-store' } };
}

/** With the challenge of this route: a client that is here has had the other. */
async function identified(access: Access, trace: AccessTrace, evidence: Evidence): Promise<Caller> {
  try {
    const caller = await identify(access, trace, evidence);
    // A token that gave tokens would never end.
    if (caller.identity?.by === 'token') throw new Unauthorized('a token gives no other token', []);
    // Also nobody gets one, where the network alone lets them do something.
    const judged = access.ping(caller, () => '');
    if (judged !== undefined) await judged;
    return caller;
  } catch (error) {
    if (!(error instanceof Unauthorized)) throw error;
    throw new Unauthorized(error.message, [BASIC_CHALLENGE], { cause: error });
  }
}

async function readTokenRequest(
  request: IncomingMessage,
  trace: AccessTrace,
  clock: Clock,
): Promise<TokenRequest> {
  const evidence = evidenceOf(request, trace);
  if (request.method === 'GET') {
    const query = new URLSearchParams((request.url ?? '').slice(TOKEN_PATH.length + 1));
    return { evidence, scopes: scopesOf(query) };
  }
  if (request.method !== 'POST') throw new MethodUnsupported('tokens are asked for by GET or POST');
  const form = await readForm(request, clock);
  if (form.get('grant_type') !== 'password')
    throw new MalformedRequest(400, 'grant_type takes password: this edge gives no refresh tokens');
  const authorization = basicAuthorization(form.get('username') ?? '', form.get('password') ?? '');
  return { evidence: { ...evidence, authorization }, scopes: scopesOf(form) };
}

async function readForm(request: IncomingMessage, clock: Clock): Promise<URLSearchParams> {
  const body = await within(clock, FORM_DEADLINE, readBody(request, MAX_FORM_BYTES));
  if (body === undefined)
    throw new MalformedRequest(400, `a form has at most ${MAX_FORM_BYTES} bytes, and they come in time`);
  return new URLSearchParams(Buffer.from(body).toString('utf8'));
}

function scopesOf(parameters: URLSearchParams): readonly Scope[] {
  const scopes = parseScopes(parameters.getAll('scope'));
  if (scopes === undefined) throw new MalformedRequest(400, 'too many scopes for one token');
  return scopes;
}

/**
 * As much of a scope as roles allow its holder. A scope does not say which upstream is meant (`?ns=` is no part of it), so what is
 * allowed at any of those that the name can stand for is granted: roles are asked again when the token is used.
 */
function grantedOf(
  scope: Scope,
  caller: Caller,
  host: string | undefined,
  { access, upstreams }: TokenRouteParts,
): Scope[] {
  if (scope.name === CATALOG) return [scope];
  const name = parseRepositoryName(scope.name);
  if (name === undefined) return [];
  const repositories = new Map<string, RepositoryRef>();
  for (const namespace of [undefined, ...upstreams.map((upstream) => upstream.name)]) {
    const repository = standingFor(upstreams, { name, namespace, host });
    if (repository !== undefined) repositories.set(repositoryKey(repository), repository);
  }
  const actions = ACTIONS.filter(
    (action) =>
      scope.actions.includes(action) &&
      [...repositories.values()].some((repository) => access.permits(caller, { repository, name, action })),
  );
  return actions.length === 0 ? [] : [{ name, actions }];
}

/** Undefined: without a default upstream the name alone may stand for none. */
function standingFor(upstreams: readonly UpstreamNames[], addressed: Addressed): RepositoryRef | undefined {
  try {
    return selectUpstream(upstreams, addressed);
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

const ACTIONS = ['pull', 'push', 'delete'] as const;

function scopeText({ name, actions }: Scope): string {
  return `${name === CATALOG ? name : `repository:${name}`}:${actions.join(',')}`;
}
