import type { ServerResponse } from 'node:http';
import type { Pins } from '../cache/pins/pins.ts';
import type { WarmEvent, WarmJob } from '../cache/warm/warm-job.ts';
import type { Warmer } from '../cache/warm/warmer.ts';
import type { UpstreamName } from '../oci/image-reference.ts';
import type { WarmLine } from './control-protocol.ts';

const PROGRESS_INTERVAL_MS = 100;

export interface WarmControl {
  readonly warmer: Warmer;
  readonly pins: Pins;
  readonly upstreams: readonly UpstreamName[];
}

/**
 * Carries out a warm command and tells of it, a line of JSON per event. Who hangs up ends the telling and keeps new
 * fills from being started; those under way are the edge's, and go on.
 */
export async function streamWarm(
  { warmer }: WarmControl,
  job: WarmJob,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const lines = new WarmLines(response);
  try {
    await warmer.warm(job, (event) => lines.tell(event), gone.signal);
    response.end();
  } catch (error) {
    lines.write({ kind: 'failed', error: error instanceof Error ? error.message : 'failed; see the log' });
    response.end();
    throw error;
  }
}

/** Progress is for the eye: as often as it can see, and not at all while the reader lags, so that nothing piles up. */
class WarmLines {
  readonly #response: ServerResponse;
  readonly #shownAt = new Map<string, number>();

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  tell(event: WarmEvent): void {
    if (event.kind === 'progress') {
      const now = performance.now();
      const shownAt = this.#shownAt.get(event.digest) ?? 0;
      if (this.#response.writableNeedDrain || now - shownAt < PROGRESS_INTERVAL_MS) return;
      this.#shownAt.set(event.digest, now);
    } else if (event.kind === 'blob') this.#shownAt.delete(event.digest);
    this.write(event);
  }

  write(line: WarmLine): void {
    if (!this.#response.destroyed) this.#response.write(`${JSON.stringify(line)}\n`);
  }
}
