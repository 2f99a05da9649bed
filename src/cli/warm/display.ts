import { MultiBar, type SingleBar } from 'cli-progress';
import type { WarmedImage, WarmEvent } from '../../cache/warm/warm-job.ts';
import { sizeText } from '../units-text.ts';

const REDRAWS_PER_SECOND = 10;
const SHOW_CURSOR = '\u001b[?25h';
const WRAP_LINES = '\u001b[?7h';

type Output = NodeJS.WritableStream & { readonly isTTY?: boolean };
type Blob = Extract<WarmEvent, { kind: 'blob' }>;

/** A bar for each blob that comes in, on a terminal; elsewhere, and for what is done, a line. */
export class WarmDisplay {
  readonly #output: Output;
  readonly #isTerminal: boolean;
  /** Of one image. A bar whose blob is here is drawn anew for the next one: there are no more than come in at once. */
  #bars: MultiBar | undefined;
  readonly #running = new Map<string, SingleBar>();
  readonly #idle: SingleBar[] = [];

  constructor(output: Output) {
    this.#output = output;
    this.#isTerminal = output.isTTY === true;
    if (!this.#isTerminal) return;
    // The bars hide the cursor; Ctrl-C in the middle of one must not leave it so.
    process.on('exit', () => output.write(SHOW_CURSOR + WRAP_LINES));
    process.once('SIGINT', () => process.exit(130));
    process.once('SIGTERM', () => process.exit(143));
  }

  show(event: WarmEvent): void {
    switch (event.kind) {
      case 'image':
        return this.#line(`${event.image}: ${count(event.blobs, 'blob')} for ${event.platforms}`);
      case 'progress':
        return this.#draw(event);
      case 'blob':
        return this.#ended(event);
      case 'retry':
        return this.#line(
          `  ${short(event.what)}  ${event.problem}; asking again in ${Math.ceil(event.inMs / 1000)} s`,
        );
      case 'done':
        this.end();
        return this.#done(event.result);
    }
  }

  end(): void {
    // What was logged is written by the next drawing, and a stop draws nothing.
    this.#bars?.update();
    this.#bars?.stop();
    this.#bars = undefined;
    this.#running.clear();
    this.#idle.length = 0;
  }

  #draw({ digest, size, received }: Extract<WarmEvent, { kind: 'progress' }>): void {
    if (!this.#isTerminal) return;
    const texts = { digest: short(digest), amount: `${sizeText(received)} of ${sizeText(size)}` };
    this.#bars ??= new MultiBar({
      stream: this.#output,
      format: '  {digest}  {bar}  {amount}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 40,
      fps: REDRAWS_PER_SECOND,
      hideCursor: true,
      emptyOnZero: true,
      clearOnComplete: true,
      gracefulExit: false,
    });
    const bar = this.#running.get(digest) ?? this.#idle.pop() ?? this.#bars.create(size, 0, texts);
    this.#running.set(digest, bar);
    bar.setTotal(size);
    bar.update(received, texts);
  }

  #ended({ digest, outcome, size, problem }: Blob): void {
    const bar = this.#running.get(digest);
    this.#running.delete(digest);
    if (bar !== undefined) {
      bar.update(size, { digest: short(digest), amount: sizeText(size) });
      this.#idle.push(bar);
    }
    if (outcome === 'failed') return this.#line(`  ${short(digest)}  failed: ${problem ?? ''}`);
    this.#line(
      `  ${short(digest)}  ${sizeText(size)}${outcome === 'cached' ? ', here already' : ' fetched'}`,
    );
  }

  #done(result: WarmedImage): void {
    const { image, outcome, fetchedBlobs, fetchedBytes, cachedBlobs, pinned, problems } = result;
    const figures = `${fetchedBlobs} fetched (${sizeText(fetchedBytes)}), ${cachedBlobs} here already`;
    const end = pinned ? '; pinned' : '';
    if (outcome === 'complete') return this.#line(`${image}: complete, ${figures}${end}`);
    if (outcome === 'stale') {
      const known = 'what the upstream had when it was last heard is here; it could not be asked now';
      return this.#line(`${image}: ${known}, ${figures}${end}`);
    }
    if (outcome === 'stopped') return this.#line(`${image}: stopped, ${figures}`);
    this.#line(`${image}: failed, ${figures}`);
    for (const problem of problems) this.#line(`  ${problem}`);
  }

  #line(text: string): void {
    if (this.#bars === undefined) this.#output.write(`${text}\n`);
    else this.#bars.log(`${text}\n`);
  }
}

/** As docker shows them: enough to tell one from another. */
function short(digest: string): string {
  return digest.slice(0, 19);
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
