import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';

const REPORT = fileURLToPath(new URL('wrk-report.lua', import.meta.url));

const Result = z.object({
  requests: z.number(),
  bytes: z.number(),
  microseconds: z.number(),
  p50: z.number(),
  p99: z.number(),
  connect: z.number(),
  read: z.number(),
  write: z.number(),
  status: z.number(),
  timeout: z.number(),
});

export interface Load {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** A connection for each request, as docker makes them. */
  readonly reconnect?: boolean;
  readonly accept?: string;
  /** The right length of the body: what was read must fit it. */
  readonly bodyBytes: number;
}

/** Response headers are at most so long here; only to tell a right length from a wrong one. */
const MAX_HEADER_BYTES = 2048;

export interface LoadResult {
  /** Answers that came whole. */
  readonly requests: number;
  /** Everything read, unfinished answers included. */
  readonly bytes: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Loads one URL for a fixed time. The whole seconds that wrk takes are cut short by SIGINT where they must be, which
 * wrk answers with a full report.
 * @throws {Error} when any request failed: such a run is no measurement.
 */
export async function wrk(load: Load): Promise<LoadResult> {
  const threads = Math.min(2, load.connections);
  const args = [
    '-t',
    String(threads),
    '-c',
    String(load.connections),
    '-d',
    String(Math.ceil(load.seconds) + 1),
  ];
  // The default of 2 s would count a slow but sound transfer of a large blob as failed.
  args.push('--timeout', '60s', '-s', REPORT);
  if (load.reconnect === true) args.push('-H', 'Connection: close');
  if (load.accept !== undefined) args.push('-H', `Accept: ${load.accept}`);
  const running = promisify(execFile)('wrk', [...args, load.url]);
  const stop = setTimeout(() => running.child.kill('SIGINT'), load.seconds * 1000);
  const { stdout } = await running.finally(() => clearTimeout(stop));
  const line = stdout.split('\n').find((text) => text.startsWith('result '));
  if (line === undefined) throw new Error(`wrk printed no result for ${load.url}: ${stdout}`);
  const result = Result.parse(JSON.parse(line.slice('result '.length)));
  const failures = (['connect', 'read', 'write', 'status', 'timeout'] as const).filter(
    (kind) => result[kind] > 0,
  );
  if (failures.length > 0) {
    const counts = failures.map((kind) => `${result[kind]} ${kind}`).join(', ');
    throw new Error(`${load.url}: requests failed under load (${counts})`);
  }
  const least = Math.max(1, result.requests * load.bodyBytes);
  const most = (result.requests + 2 * load.connections) * (load.bodyBytes + MAX_HEADER_BYTES);
  if (result.bytes < least || result.bytes > most) {
    throw new Error(
      `${load.url}: ${result.requests} answers in ${result.bytes} bytes: bodies of the wrong length`,
    );
  }
  return {
    requests: result.requests,
    bytes: result.bytes,
    seconds: result.microseconds / 1e6,
    p50Ms: result.p50 / 1000,
    p99Ms: result.p99 / 1000,
  };
}
