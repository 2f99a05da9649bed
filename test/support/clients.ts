import { createHash } from 'node:crypto';
import { request as plainRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { request as tlsRequest, type RequestOptions } from 'node:https';
import { TokenBucket } from './token-bucket.ts';

export interface GetOptions {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: Buffer | string;
  /** Trusted for this request; without it no certificate is trusted that the system does not. */
  readonly ca?: string | Buffer;
  /** A client certificate. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
  /** Any of 127.0.0.0/8, to be another client in the eyes of the server. */
  readonly localAddress?: string;
  /** Keep the body; without it only its hash and its length are known. */
  readonly keepBody?: boolean;
  readonly onHeaders?: (response: IncomingMessage) => void;
  /** Sees each chunk and the number of bytes so far; reading goes on when it has returned. */
  readonly onData?: (chunk: Buffer, bytes: number) => void | Promise<void>;
  /** A slow reader: the server sees its socket fill up. */
  readonly readRateBytesPerSecond?: number;
  /** Breaks the connection as soon as so many bytes of the body are here. */
  readonly abortAfterBytes?: number;
  readonly signal?: AbortSignal;
  /** The whole exchange; a minute by default. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** Name, value, name, value, as they came. */
  readonly rawHeaders: readonly string[];
  /** Hex, of the body as far as it came. */
  readonly sha256: string;
  readonly bytes: number;
  /** The body came to its end, by Content-Length or by the last chunk. */
  readonly complete: boolean;
  /** How a body ended that is not complete: `ECONNRESET` for RST as for FIN, `ABORTED` when this side broke it off. */
  readonly error: string | undefined;
  /** All times from the start of the request. */
  readonly headersMs: number;
  /** Of the first byte of the body; of its end when it is empty. */
  readonly firstByteMs: number;
  readonly totalMs: number;
  /** Empty without `keepBody`. */
  readonly body: Buffer;
}

/**
 * One request on a connection of its own. An answer that breaks off is an answer (`complete` is false); what fails
 * before the headers are here is an exception with node's own code.
 */
export async function get(url: string, options: GetOptions = {}): Promise<Answer> {
  const started = performance.now();
  const since = (): number => performance.now() - started;
  const { timeoutMs = 60_000 } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
  try {
    const response = await headersOf(url, options, signal);
    const headersMs = since();
    options.onHeaders?.(response);
    const read = await readBody(response, options, since);
    if (timeout.aborted) throw timeout.reason as Error;
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      rawHeaders: response.rawHeaders,
      headersMs,
      ...read,
      totalMs: since(),
    };
  } catch (error) {
    if (timeout.aborted) throw new Error(`${url}: no whole answer within ${timeoutMs} ms`, { cause: error });
    throw error;
  }
}

/** The same request `count` times at once; the options may differ from one to the next. */
export async function herd(
  url: string,
  count: number,
  options: GetOptions | ((index: number) => GetOptions) = {},
): Promise<Answer[]> {
  const optionsOf = typeof options === 'function' ? options : (): GetOptions => options;
  return await Promise.all(Array.from({ length: count }, (_, index) => get(url, optionsOf(index))));
}

async function headersOf(url: string, options: GetOptions, signal: AbortSignal): Promise<IncomingMessage> {
  const { method = 'GET', headers, body, ca, cert, key, servername, localAddress } = options;
  const given = Object.entries({ headers, ca, cert, key, servername, localAddress }).filter(
    ([, value]) => value,
  );
  const requestOptions: RequestOptions = { method, agent: false, signal, ...Object.fromEntries(given) };
  const outgoing = (url.startsWith('https:') ? tlsRequest : plainRequest)(url, requestOptions);
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    // Stays: an error after the answer has begun shows in the answer.
    outgoing.on('error', reject);
  });
  outgoing.end(body);
  return await answered;
}

type BodyRead = Pick<Answer, 'sha256' | 'bytes' | 'complete' | 'error' | 'firstByteMs' | 'body'>;

async function readBody(
  response: IncomingMessage,
  options: GetOptions,
  since: () => number,
): Promise<BodyRead> {
  const { abortAfterBytes = Infinity, readRateBytesPerSecond = Infinity, onData, keepBody = false } = options;
  const hash = createHash('sha256');
  const kept: Buffer[] = [];
  const bucket = new TokenBucket(readRateBytesPerSecond);
  bucket.open();
  let bytes = 0;
  let firstByteMs: number | undefined;
  let error: string | undefined;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      firstByteMs ??= since();
      bytes += chunk.byteLength;
      hash.update(chunk);
      if (keepBody) kept.push(chunk);
      await onData?.(chunk, bytes);
      await bucket.take(chunk.byteLength);
      if (bytes >= abortAfterBytes) {
        error = 'ABORTED';
        break;
      }
    }
  } catch (cause) {
    error = codeOf(cause);
  }
  response.destroy();
  const complete = response.complete && error === undefined;
  firstByteMs ??= since();
  return { sha256: hash.digest('hex'), bytes, complete, error, firstByteMs, body: Buffer.concat(kept) };
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'AbortError') return 'ABORTED';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
