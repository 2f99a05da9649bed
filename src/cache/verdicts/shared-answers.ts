import { SingleFlight } from '../../lib/single-flight.ts';
import type { AskedAs } from './asked-as.ts';

interface Answered<A> {
  readonly answer: A;
  readonly as: string;
}

/**
 * One question per key, whoever asks: what the upstream gives to one it gives to all of them. Its no to one of them is
 * not the others': they ask for themselves.
 */
export class SharedAnswers<A extends { readonly kind: string }> {
  readonly #running = new SingleFlight<string, Answered<A>>();

  /** @param ask whether it is asked for this asker alone, after another one's no. */
  async run(key: string, as: AskedAs, ask: (alone: boolean) => Promise<A>): Promise<A> {
    const work = async (alone: boolean): Promise<Answered<A>> => ({ answer: await ask(alone), as: as.key });
    const first = await this.#running.run(key, () => work(false));
    if (first.as === as.key || !isDenial(first.answer)) return first.answer;
    return (await this.#running.run(`${key} ${as.key}`, () => work(true))).answer;
  }

  /** What runs goes on for those who wait for it; the next asker starts anew. */
  forget(key: string): void {
    this.#running.forget(key);
  }
}

function isDenial({ kind }: { readonly kind: string }): boolean {
  return kind === 'unknown' || kind === 'unauthorized';
}
