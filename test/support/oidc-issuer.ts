import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTPayload } from 'jose';
import { selfSigned } from './self-signed.ts';
import { TempFolder } from './temp.ts';

type Answer = (response: ServerResponse) => void;

/** An OpenID issuer over https on the loopback address, with its own certificate. It publishes keys and signs; nobody logs in there. */
export interface OidcIssuer extends AsyncDisposable {
  /** What it calls itself. */
  readonly issuer: string;
  /** PEM text of its certificate, which is its own authority. */
  readonly ca: string;
  /** Requests by path. */
  readonly requests: readonly string[];
  readonly publicKey: CryptoKey;
  readonly publicJwk: JWK;
  /** A token by the newest key; claims besides `iss`, `aud`, `iat`, `exp`, or in their place (undefined: without). */
  token(
    claims?: Readonly<Record<string, unknown>>,
    header?: Readonly<Record<string, unknown>>,
  ): Promise<string>;
  /** A new key; `keep`: the old ones are published still. */
  rotate(alg?: string, keep?: boolean): Promise<void>;
  /** Another answer at that path, until it is undefined again. */
  answer(path: string, answer: Answer | undefined): void;
  /** The port refuses connections from then on; {@link start} takes it again. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export const DISCOVERY = '/.well-known/openid-configuration';
export const JWKS = '/keys';

interface SigningKey {
  readonly alg: string;
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly jwk: JWK;
}

/** @param now the time by which tokens are made, in ms. */
export async function startOidcIssuer(now: () => number, audience = 'pierhead'): Promise<OidcIssuer> {
  const folder = new TempFolder('issuer');
  const { key, cert } = await selfSigned(folder.path);
  await folder.remove();
  const requests: string[] = [];
  const answers = new Map<string, Answer>();
  const sockets = new Set<Socket>();
  let keys: SigningKey[] = [await signingKey('ES256', 'key-1')];
  let server: Server | undefined;
  let port = 0;
  let made = 1;
  const issuer = (): string => `https://127.0.0.1:${port}`;
  const newest = (): SigningKey => {
    const [first] = keys;
    if (first === undefined) throw new Error('an issuer has a key');
    return first;
  };

  async function start(): Promise<void> {
    server = createServer({ key, cert }, (request, response) => {
      const path = request.url ?? '';
      requests.push(path);
      const answer = answers.get(path);
      if (answer !== undefined) answer(response);
      else if (path === DISCOVERY) json(response, { issuer: issuer(), jwks_uri: issuer() + JWKS });
      else if (path === JWKS) json(response, { keys: keys.map(({ jwk }) => jwk) });
      else response.writeHead(404).end();
    });
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  }
  async function stop(): Promise<void> {
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    server = undefined;
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  await start();
  return {
    issuer: issuer(),
    ca: cert.toString('utf8'),
    requests,
    get publicKey() {
      return newest().publicKey;
    },
    get publicJwk() {
      return newest().jwk;
    },
    async token(claims = {}, header = {}) {
      const seconds = Math.floor(now() / 1000);
      const all: JWTPayload = {
        iss: issuer(),
        aud: audience,
        sub: 'ada',
        iat: seconds,
        exp: seconds + 300,
        ...claims,
      };
      const { alg, kid, privateKey } = newest();
      return await new SignJWT(all).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);
    },
    async rotate(alg = 'ES256', keep = false) {
      made += 1;
      keys = [await signingKey(alg, `key-${made}`), ...(keep ? keys : [])];
    },
    answer: (path, answer) => void (answer === undefined ? answers.delete(path) : answers.set(path, answer)),
    start,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function signingKey(alg: string, kid: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { alg, kid, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), alg, kid, use: 'sig' } };
}

export function json(response: ServerResponse, document: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
}
