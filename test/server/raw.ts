import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The body as it came. */
  readonly raw: Buffer;
}

export interface RawOptions {
  /** Ends the exchange when so many answers are here; otherwise the server ends it. */
  readonly answers?: number;
  /** Sends FIN after the bytes and goes on reading. */
  readonly halfClose?: boolean;
  /** The answers carry no bodies. */
  readonly head?: boolean;
  /** The bytes go through TLS, whoever the server says that it is. */
  readonly tls?: boolean;
}

export interface Exchange {
  readonly answers: readonly RawAnswer[];
  /** What came after the last whole answer. */
  readonly rest: string;
  readonly closedByServer: boolean;
}

/** Sends the bytes as they are, and reads what comes back until the server closes or enough answers are here. */
export async function exchange(
  url: string,
  bytes: string | Buffer,
  options: RawOptions = {},
): Promise<Exchange> {
  const { hostname, port } = new URL(url);
  const peer = { host: hostname, port: Number(port), allowHalfOpen: true };
  const socket = options.tls === true ? connectTls({ ...peer, rejectUnauthorized: false }) : connect(peer);
  // A server that has had enough may reset while bytes are still under way: what came before counts.
  socket.on('error', () => undefined);
  await once(socket, options.tls === true ? 'secureConnect' : 'connect');
  socket.write(bytes);
  if (options.halfClose === true) socket.end();
  let received = Buffer.alloc(0);
  let closedByServer = true;
  const closed = new Promise<void>((resolve) => {
    socket.once('end', resolve);
    socket.once('close', () => resolve());
  });
  const enough = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (
        options.answers === undefined ||
        readAnswers(received, options.head).answers.length < options.answers
      )
        return;
      closedByServer = false;
      resolve();
    });
  });
  await Promise.race([closed, enough]);
  socket.destroy();
  return { ...readAnswers(received, options.head), closedByServer };
}

function readAnswers(received: Buffer, head = false): { answers: RawAnswer[]; rest: string } {
  const answers: RawAnswer[] = [];
  let at = 0;
  for (;;) {
    const end = received.indexOf('\r\n\r\n', at);
    if (end === -1) break;
    const [line = '', ...lines] = received.toString('latin1', at, end).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) break;
    const headers: Record<string, string> = {};
    for (const header of lines) {
      const colon = header.indexOf(':');
      headers[header.slice(0, colon).toLowerCase()] = header.slice(colon + 1).trim();
    }
    const length = head || status === 100 || status === 304 ? 0 : Number(headers['content-length'] ?? 0);
    const next = end + 4 + length;
    if (next > received.byteLength) break;
    const raw = received.subarray(end + 4, next);
    answers.push({ status, headers, body: raw.toString('utf8'), raw });
    at = next;
  }
  return { answers, rest: received.toString('latin1', at) };
}
