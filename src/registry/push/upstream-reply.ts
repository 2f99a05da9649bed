import type { Readable } from 'node:stream';
import { readBody } from '../../lib/read-body.ts';
import { ERROR_CODES, RegistryError, type ErrorCode } from '../../oci/error-codes.ts';
import { NO_BODY, type Answer } from '../answer.ts';

/** What an upstream said to a push. */
export interface UpstreamReply {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable;
}

/** Everything of the upstream's that a client of a push may see; `Location` is made here. */
const PASSED_HEADERS = [
  'docker-content-digest',
  'docker-upload-uuid',
  'oci-chunk-min-length',
  'oci-chunk-max-length',
  'oci-filters-applied',
  'oci-subject',
  'range',
  'retry-after',
  'www-authenticate',
];
const PASSED_VALUE = /^[\t\x20-\x7e]{1,4096}$/;
const MAX_ERROR_BYTES = 64 * 1024;

export function headerOf({ headers }: UpstreamReply, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** 2xx: the headers that count. No push is answered with content. */
export async function acceptedAnswer(reply: UpstreamReply, location: string | undefined): Promise<Answer> {
  await readBody(reply.body, MAX_ERROR_BYTES);
  return {
    status: reply.status,
    headers: {
      ...passedHeaders(reply),
      ...(location !== undefined && { location }),
      ...(reply.status !== 204 && { 'content-length': 0 }),
    },
    body: NO_BODY,
  };
}

/** 4xx and 5xx: the upstream's own words where they are the spec's JSON, else ours under its status. */
export async function refusedAnswer(
  reply: UpstreamReply,
  head: boolean,
  location: string | undefined,
): Promise<Answer> {
  const said = head ? undefined : await readBody(reply.body, MAX_ERROR_BYTES).catch(() => undefined);
  reply.body.destroy();
  const content = said !== undefined && isErrorDocument(said) ? said : ourWords(reply.status);
  return {
    status: reply.status,
    headers: {
      ...passedHeaders(reply),
      ...(location !== undefined && { location }),
      'content-type': 'application/json',
      'content-length': content.byteLength,
    },
    body: head ? NO_BODY : { kind: 'bytes', content },
  };
}

/** @throws {RegistryError} BAD_UPSTREAM for what is no answer to a push: a redirect would take the client's bytes elsewhere. */
export function checkStatus(reply: UpstreamReply): void {
  const { status } = reply;
  if ((status >= 200 && status < 300) || (status >= 400 && status <= 599)) return;
  reply.body.destroy();
  const what =
    status >= 300 && status < 400 ? `a redirect (${status}), which pushes do not follow` : String(status);
  throw new RegistryError('BAD_UPSTREAM', `the upstream answered the push with ${what}`);
}

function passedHeaders(reply: UpstreamReply): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of PASSED_HEADERS) {
    const value = headerOf(reply, name);
    if (value !== undefined && PASSED_VALUE.test(value)) passed[name] = value;
  }
  return passed;
}

function isErrorDocument(content: Uint8Array): boolean {
  try {
    const document = JSON.parse(Buffer.from(content).toString('utf8')) as { errors?: unknown } | null;
    return Array.isArray(document?.errors);
  } catch {
    return false;
  }
}

const CODES: Readonly<Record<number, ErrorCode>> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'NAME_UNKNOWN',
  405: 'UNSUPPORTED',
  413: 'SIZE_INVALID',
  416: 'SIZE_INVALID',
  429: 'TOOMANYREQUESTS',
  503: 'UNAVAILABLE',
};

function ourWords(status: number): Uint8Array {
  const code = CODES[status] ?? 'UNKNOWN';
  const detail = `the upstream answered ${status}`;
  return Buffer.from(JSON.stringify({ errors: [{ code, message: ERROR_CODES[code].message, detail }] }));
}
