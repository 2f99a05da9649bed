import { createPrivateKey, randomUUID, X509Certificate, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { SignJWT } from 'jose';
import { selfSigned } from './self-signed.ts';
import { TempFolder } from './temp.ts';

export interface TokenUser {
  readonly password: string;
  /** What the user may do to a repository: `pull`, `push`, `delete`. */
  readonly may: (repository: string) => readonly string[];
}

/** What a docker-registry with `auth: token` is told. */
export interface TokenAuth {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** Of certificates whose keys sign tokens. */
  readonly rootcertbundle: string;
}

export interface TokenServer extends AsyncDisposable {
  readonly auth: TokenAuth;
  /** Scopes that tokens were asked for, with who asked. */
  readonly asked: readonly string[];
  /** `Authorization` with a token; without a password from anybody. */
  bearer(user: string | undefined, scope: string): Promise<string>;
}

const SERVICE = 'registry.test';
const ISSUER = 'tokens.test';

/**
 * Docker's token service, as a registry's own: whoever has the right password gets a token with as much of the asked scopes as
 * they may have then. Anonymous tokens hold nothing.
 */
export async function startTokenServer(
  users: Readonly<Record<string, TokenUser>>,
  ttlSeconds = 300,
): Promise<TokenServer> {
  const folder = new TempFolder('tokens');
  const { key, cert, certFile } = await selfSigned(folder.path);
  const signer = createPrivateKey(key);
  const certificate = new X509Certificate(cert).raw.toString('base64');
  const asked: string[] = [];
  const issue = (user: string | undefined, scopes: readonly string[]): Promise<string> =>
    signed(signer, certificate, ttlSeconds, { user, scopes, users });
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { searchParams } = new URL(request.url ?? '', 'http://tokens');
    // OAuth2, as containerd does it with a password.
    const form = new URLSearchParams(request.method === 'POST' ? await text(request) : '');
    const user = userOf(shownBy(request, form), users);
    const scopes = [...searchParams.getAll('scope'), ...form.getAll('scope')].flatMap((scope) =>
      scope.split(' '),
    );
    asked.push(`${String(user)} ${scopes.join(' ')}`);
    if (user === false) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="tokens"' }).end();
      return;
    }
    const token = await issue(user, scopes);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ token, access_token: token, expires_in: ttlSeconds }));
  };
  const server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    auth: {
      realm: `http://127.0.0.1:${port}/token`,
      service: SERVICE,
      issuer: ISSUER,
      rootcertbundle: certFile,
    },
    asked,
    bearer: async (user, scope) => `Bearer ${await issue(user, [scope])}`,
    [Symbol.asyncDispose]: () => stop(server, folder),
  };
}

async function stop(server: Server, folder: TempFolder): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
  await folder.remove();
}

interface Claim {
  readonly user: string | undefined;
  readonly scopes: readonly string[];
  readonly users: Readonly<Record<string, TokenUser>>;
}

/** As docker-registry 2.8 takes them: the certificate of the key stands in the header. */
async function signed(
  key: KeyObject,
  certificate: string,
  ttlSeconds: number,
  { user, scopes, users }: Claim,
): Promise<string> {
  const access = scopes.flatMap((scope) => {
    const [, type = '', name = '', wanted = ''] = /^([a-z]+):(.+):([a-z,*]+)$/.exec(scope) ?? [];
    const allowed = user === undefined ? [] : (users[user]?.may(name) ?? []);
    const actions = wanted.split(',').filter((action) => allowed.includes(action));
    return actions.length === 0 ? [] : [{ type, name, actions }];
  });
  const now = Math.floor(Date.now() / 1000);
  return await new SignJWT({ access })
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT', x5c: [certificate] })
    .setIssuer(ISSUER)
    .setSubject(user ?? '')
    .setAudience(SERVICE)
    .setIssuedAt(now)
    .setNotBefore(now - 10)
    .setExpirationTime(now + ttlSeconds)
    .setJti(randomUUID())
    .sign(key);
}

/** The name and the password, if any. */
function shownBy({ headers }: IncomingMessage, form: URLSearchParams): string | undefined {
  if (form.get('grant_type') === 'password') return `${form.get('username')}:${form.get('password')}`;
  const [, encoded] = /^basic (.+)$/i.exec(headers.authorization ?? '') ?? [];
  return encoded && Buffer.from(encoded, 'base64').toString('utf8');
}

/** False for a wrong password. */
function userOf(
  shown: string | undefined,
  users: Readonly<Record<string, TokenUser>>,
): string | undefined | false {
  if (shown === undefined) return undefined;
  const [name = '', ...rest] = shown.split(':');
  return users[name]?.password === rest.join(':') ? name : false;
}
