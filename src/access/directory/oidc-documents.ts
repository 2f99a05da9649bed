import { Agent, request } from 'undici';
import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import { readBody } from '../../lib/read-body.ts';

const MAX_DOCUMENT_BYTES = 512 * 1024;
/** A key that signs tokens is never among a hundred. */
const MAX_KEYS = 100;
/** RSA below 2048 bits, in octets of base64url. */
const LEAST_MODULUS_CHARACTERS = 342;
const TIMEOUT = seconds(5);

/** An issuer's documents could not be had. The message is fit for a log. */
export class IssuerFailure extends Error {
  override readonly name = 'IssuerFailure';
}

export interface PublicKeys {
  readonly keys: readonly object[];
}

export interface DocumentsOptions {
  /** PEM text; then these authorities alone are trusted. */
  readonly ca?: string;
  /** Of each document, to its last octet. */
  readonly timeout?: Milliseconds;
}

/** The documents that an OpenID issuer publishes of itself. No redirect is followed. OpenID Connect Discovery 1.0. */
export class IssuerDocuments {
  readonly #issuer: string;
  readonly #agent: Agent;
  readonly #timeout: Milliseconds;

  constructor(issuer: string, { ca, timeout = TIMEOUT }: DocumentsOptions) {
    this.#issuer = issuer;
    this.#timeout = timeout;
    this.#agent = new Agent({
      connect: { minVersion: 'TLSv1.2', rejectUnauthorized: true, ...(ca !== undefined && { ca }) },
      connectTimeout: timeout,
      connections: 2,
      allowH2: false,
      // Keys are asked for every few minutes: nothing is gained by keeping a connection.
      keepAliveTimeout: ms(1000),
      maxHeaderSize: 16 * 1024,
    });
  }

  /** The keys as they are now. @throws {IssuerFailure} */
  async keys(): Promise<PublicKeys> {
    const base = this.#issuer.replace(/\/$/, '');
    const discovery = await this.#json(new URL(`${base}/.well-known/openid-configuration`));
    const named = member(discovery, 'issuer');
    // Section 4.3: otherwise anybody who may place a document there could speak for another.
    if (named !== this.#issuer)
      throw new IssuerFailure(
        `the document at ${base} is of another issuer: auth.edge.oidc.issuer has to be exactly what it calls itself, a slash at the end included`,
      );
    return usableKeys(await this.#json(this.#keysUrl(member(discovery, 'jwks_uri'))));
  }

  /** What is on its way goes on to its end. */
  close(): void {
    // It rejects only when it is closed twice.
    this.#agent.close().catch(() => undefined);
  }

  /** An issuer may keep its keys on another host, but not with less protection than itself. */
  #keysUrl(text: unknown): URL {
    const url = typeof text === 'string' ? URL.parse(text) : null;
    if (url === null || (url.protocol !== 'https:' && url.protocol !== new URL(this.#issuer).protocol))
      throw new IssuerFailure('its jwks_uri is not an https URL');
    return url;
  }

  async #json(url: URL): Promise<unknown> {
    const where = url.origin + url.pathname;
    const signal = AbortSignal.timeout(this.#timeout);
    let content: Uint8Array | undefined;
    try {
      const { statusCode, body } = await request(url, {
        dispatcher: this.#agent,
        signal,
        headers: { accept: 'application/json', 'accept-encoding': 'identity' },
      });
      // A body that is destroyed before its end is reported as an error, also when nobody wants it: it must not end the process.
      body.on('error', () => undefined);
      if (statusCode !== 200) {
        body.destroy();
        throw new IssuerFailure(
          `${where} answers ${statusCode}${statusCode >= 300 && statusCode < 400 ? ', and redirects are not followed' : ''}`,
        );
      }
      content = await readBody(body, MAX_DOCUMENT_BYTES);
    } catch (error) {
      if (error instanceof IssuerFailure) throw error;
      const reason = signal.aborted ? `no answer within ${this.#timeout} ms` : reasonOf(error);
      throw new IssuerFailure(`${where}: ${reason}`, { cause: error });
    }
    if (content === undefined) throw new IssuerFailure(`${where}: the answer is too long`);
    try {
      return JSON.parse(Buffer.from(content).toString('utf8'));
    } catch (error) {
      throw new IssuerFailure(`${where}: the answer is not JSON`, { cause: error });
    }
  }
}

/** Public keys of the kinds that sign; what else the set holds is left out. */
function usableKeys(document: unknown): PublicKeys {
  const keys = member(document, 'keys');
  if (!Array.isArray(keys) || keys.length > MAX_KEYS)
    throw new IssuerFailure('its jwks_uri gives no set of at most 100 keys');
  const usable = keys.filter(isUsable);
  if (usable.length === 0) throw new IssuerFailure('its jwks_uri gives no public RSA, EC or Ed25519 key');
  return { keys: usable };
}

function isUsable(key: unknown): key is object {
  if (typeof key !== 'object' || key === null || 'd' in key) return false;
  const modulus = member(key, 'n');
  switch (member(key, 'kty')) {
    case 'RSA':
      return typeof modulus === 'string' && modulus.length >= LEAST_MODULUS_CHARACTERS;
    case 'EC':
    case 'OKP':
      return true;
    default:
      return false;
  }
}

function member(document: unknown, name: string): unknown {
  if (typeof document !== 'object' || document === null) return undefined;
  return new Map<string, unknown>(Object.entries(document)).get(name);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return /CERT|SIGNED|ISSUER|VERIFY|ALTNAME/.test(code)
    ? `its certificate is not trusted (${code}): mend auth.edge.oidc.ca or the URL`
    : code;
}
