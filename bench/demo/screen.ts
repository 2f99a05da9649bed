import { styleText } from 'node:util';
import { MultiBar } from 'cli-progress';
import { megabytes, seconds, type Row } from './figures.ts';

const INDENT = '   ';
const SHOW_CURSOR = '\u001b[?25h';
const WRAP_LINES = '\u001b[?7h';
const REDRAWS_PER_SECOND = 15;

type Output = NodeJS.WritableStream & { readonly isTTY?: boolean };

/** How far an act is. */
export interface Progress {
  readonly clientBytes: number;
  readonly wanBytes: number;
}

/** Bars and bold titles on a terminal; elsewhere plain lines, one for each thing that is done. */
export class Screen {
  readonly #stream: Output;

  constructor(stream: Output) {
    this.#stream = stream;
    // The bars hide the cursor; a process that ends in the middle of one has to bring it back.
    if (this.#live) process.on('exit', () => stream.write(SHOW_CURSOR + WRAP_LINES));
  }

  /** A terminal that can go back to a line. */
  get #live(): boolean {
    return this.#stream.isTTY === true;
  }

  line(text = ''): void {
    this.#stream.write(`${text}\n`);
  }

  note(text: string): void {
    this.line(INDENT + text);
  }

  title(text: string): void {
    this.line();
    this.line(this.#live ? styleText('bold', text, { stream: this.#stream }) : text);
  }

  /** Two bars on one scale, so that what the WAN is spared can be seen. Returns the function that ends them. */
  follow(totalBytes: number, read: () => Progress): () => void {
    if (!this.#live) return () => undefined;
    const started = performance.now();
    const bars = new MultiBar({
      stream: this.#stream,
      format: `${INDENT}{name}  {bar}  {amount}  {rate}`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 40,
      fps: REDRAWS_PER_SECOND,
      hideCursor: true,
      emptyOnZero: true,
    });
    const texts = (bytes: number): { amount: string; rate: string } => ({
      amount: megabytes(bytes).padStart(9),
      rate: `${megabytes((bytes * 1000) / Math.max(performance.now() - started, 1))}/s`.padStart(11),
    });
    const clients = bars.create(totalBytes, 0, { name: 'to clients  ', ...texts(0) });
    const wan = bars.create(totalBytes, 0, { name: 'over the WAN', ...texts(0) });
    const draw = (): void => {
      const { clientBytes, wanBytes } = read();
      clients.update(clientBytes, texts(clientBytes));
      wan.update(wanBytes, texts(wanBytes));
    };
    const timer = setInterval(draw, 1000 / REDRAWS_PER_SECOND);
    return () => {
      clearInterval(timer);
      draw();
      bars.stop();
    };
  }

  done({ seconds: took, clientBytes, wanBytes, wanRequests, remark }: Row): void {
    const bytes = `${megabytes(clientBytes)} to clients, ${megabytes(wanBytes)} over the WAN, `;
    const requests = `${wanRequests} WAN ${wanRequests === 1 ? 'request' : 'requests'}`;
    // The bars have said the bytes.
    this.note(`${seconds(took)}, ${this.#live ? '' : bytes}${requests}: ${remark}`);
  }
}
