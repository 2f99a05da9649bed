import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

/**
 * A program of its own, so that reading for hundreds of clients does not slow the link that runs in the bench's own
 * process. Every body is compared byte by byte with the true content: that proves what a SHA-256 would, at a fraction
 * of the CPU time, which the servers need on the same cores.
 */
export interface HerdOrder {
  readonly url: string;
  readonly clients: number;
  /** The file that holds what each of them must get. */
  readonly contentFile: string;
}

export interface HerdReport {
  /** Per client, from the moment that the herd set off. */
  readonly firstByteMs: readonly number[];
  readonly totalMs: readonly number[];
  /** One line per client that did not get the right body. */
  readonly failures: readonly string[];
}

/** As much as one call reads at most; the buffer is used again and again, which is half of what makes this cheap. */
const READ_BYTES = 256 * 1024;
const MAX_HEAD_BYTES = 16 * 1024;

if (import.meta.main) {
  const order = JSON.parse(process.argv[2] ?? '') as HerdOrder;
  process.stdout.write(JSON.stringify(await runHerd(order)));
}

async function runHerd(order: HerdOrder): Promise<HerdReport> {
  const content = readFileSync(order.contentFile);
  const startedAt = performance.now();
  const outcomes = await Promise.allSettled(
    Array.from({ length: order.clients }, () => pull(new URL(order.url), content, startedAt)),
  );
  const done = outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value);
  const failures = outcomes
    .filter((outcome) => outcome.status === 'rejected')
    .map(({ reason }) => String(reason));
  return {
    firstByteMs: done.map(({ firstByteMs }) => firstByteMs),
    totalMs: done.map(({ totalMs }) => totalMs),
    failures,
  };
}

interface Pulled {
  readonly firstByteMs: number;
  readonly totalMs: number;
}

/** Plain HTTP/1.1 by hand: the client shares the cores with the server that it measures. */
async function pull(url: URL, content: Buffer, startedAt: number): Promise<Pulled> {
  return await new Promise((resolve, reject) => {
    let head = '';
    let firstByteMs = 0;
    let at = 0;
    let inBody = false;
    const take = (chunk: Buffer): void => {
      if (chunk.byteLength === 0) return;
      if (at === 0) firstByteMs = performance.now() - startedAt;
      const end = at + chunk.byteLength;
      if (end > content.byteLength || content.compare(chunk, 0, chunk.byteLength, at, end) !== 0) {
        socket.destroy(new Error(`wrong bytes after ${at}`));
      }
      at = end;
    };
    const read = (length: number, buffer: Uint8Array): boolean => {
      const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, length);
      if (inBody) {
        take(chunk);
        return true;
      }
      const before = head.length;
      head += chunk.toString('latin1');
      const headEnd = head.indexOf('\r\n\r\n');
      if (headEnd < 0 && head.length < MAX_HEAD_BYTES) return true;
      const problem = problemIn(head.slice(0, headEnd), content.byteLength);
      if (problem !== undefined) socket.destroy(new Error(problem));
      inBody = true;
      take(chunk.subarray(headEnd + 4 - before));
      return true;
    };
    const socket = connect({
      host: url.hostname,
      port: Number(url.port),
      onread: { buffer: new Uint8Array(READ_BYTES), callback: read },
    });
    socket.once('error', reject);
    socket.once('close', () => {
      if (at === content.byteLength) resolve({ firstByteMs, totalMs: performance.now() - startedAt });
      else reject(new Error(`${at} bytes instead of ${content.byteLength}`));
    });
    socket.write(`GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: close\r\n\r\n`);
  });
}

function problemIn(head: string, length: number): string | undefined {
  const [status = '', ...fields] = head.toLowerCase().split('\r\n');
  if (!status.startsWith('http/1.1 200')) return `status line ${status}`;
  return fields.includes(`content-length: ${length}`) ? undefined : 'no Content-Length, or a wrong one';
}
