import { HOST_FORM } from '../request-check.ts';

/** A request of the plain kind that nearly all pulls of small things are made of. */
export interface RequestHead {
  readonly method: 'GET' | 'HEAD';
  readonly target: string;
  readonly host: string;
  readonly authorization: string | undefined;
  readonly ifNoneMatch: string | undefined;
  /** The client wants the connection closed behind the answer. */
  readonly close: boolean;
}

/** What is longer is left to Node's parser, which has limits of its own. */
export const MAX_HEAD_BYTES = 8 * 1024;
/** Printable characters in lines: no control character, no line end but the whole one. */
const PLAIN = /^(?:[\x20-\x7e]+\r\n)+\r\n$/;
const LINE_END = '\r\n';
const HEAD_END = '\r\n\r\n';

/**
 * Reads `bytes` if they are one whole request of a strict subset of HTTP/1.1 (RFC 9112 §2 and §3), and nothing behind it:
 * `GET` or `HEAD`, a target in origin form, one `Host`, no body, and no header but those named below, each of them once (`Accept` as often
 * as docker likes). Undefined for everything else, right or wrong: then the same bytes are Node's to judge. So nothing is refused here, nothing is
 * taken that Node would not take, and the two cannot be played off against each other: not a byte is read by both.
 */
export function readRequestHead(bytes: Buffer): RequestHead | undefined {
  if (bytes.length > MAX_HEAD_BYTES) return undefined;
  const text = bytes.toString('latin1');
  const end = text.length - HEAD_END.length;
  if (end < 0 || text.indexOf(HEAD_END) !== end || !PLAIN.test(text)) return undefined;
  const firstEnd = text.indexOf(LINE_END);
  const line = readRequestLine(text.slice(0, firstEnd));
  return line && readHeaders(text, firstEnd + LINE_END.length, end, line);
}

interface RequestLine {
  readonly method: 'GET' | 'HEAD';
  readonly target: string;
}

function readRequestLine(line: string): RequestLine | undefined {
  const method = line.startsWith('GET /') ? 'GET' : line.startsWith('HEAD /') ? 'HEAD' : undefined;
  if (method === undefined || !line.endsWith(' HTTP/1.1')) return undefined;
  const target = line.slice(method.length + 1, -' HTTP/1.1'.length);
  return target.includes(' ') ? undefined : { method, target };
}

function readHeaders(text: string, start: number, end: number, line: RequestLine): RequestHead | undefined {
  let [host, authorization, ifNoneMatch, connection]: (string | undefined)[] = [];
  for (let at = start; at <= end;) {
    const lineEnd = text.indexOf(LINE_END, at);
    const colon = text.indexOf(':', at);
    if (colon === -1 || colon > lineEnd) return undefined;
    const value = text.slice(colon + 1, lineEnd);
    switch (text.slice(at, colon).toLowerCase()) {
      case 'accept':
      case 'accept-encoding':
      case 'user-agent':
        break;
      case 'host':
        if (host !== undefined) return undefined;
        host = value.trim();
        break;
      case 'authorization':
        if (authorization !== undefined) return undefined;
        authorization = value.trim();
        break;
      case 'if-none-match':
        if (ifNoneMatch !== undefined) return undefined;
        ifNoneMatch = value.trim();
        break;
      case 'connection':
        if (connection !== undefined) return undefined;
        connection = value.trim().toLowerCase();
        if (connection !== 'close' && connection !== 'keep-alive') return undefined;
        break;
      default:
        return undefined;
    }
    at = lineEnd + LINE_END.length;
  }
  if (host === undefined || !HOST_FORM.test(host)) return undefined;
  return { ...line, host, authorization, ifNoneMatch, close: connection === 'close' };
}
