/**
 * Work of many keys, a few pieces at a time and the keys in turn: whoever brings a thousand pieces waits for them one by one, and
 * everybody else for one of them each time.
 */
export class FairQueue {
  readonly #atOnce: number;
  readonly #perKey: number;
  readonly #total: number;
  /** In the order of their turns; none is empty. */
  readonly #lines = new Map<string, (() => void)[]>();
  #running = 0;
  #waiting = 0;

  constructor(limits: { readonly atOnce: number; readonly perKey: number; readonly total: number }) {
    this.#atOnce = limits.atOnce;
    this.#perKey = limits.perKey;
    this.#total = limits.total;
  }

  /** Undefined when there is no place to wait in. @throws what `work` throws. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> | undefined {
    if (this.#running < this.#atOnce) {
      this.#running += 1;
      return this.#inSlot(work);
    }
    const line = this.#lines.get(key) ?? [];
    if (line.length >= this.#perKey || this.#waiting >= this.#total) return undefined;
    this.#lines.set(key, line);
    this.#waiting += 1;
    return new Promise<void>((begin) => line.push(begin)).then(() => this.#inSlot(work));
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** The slot is handed on, never free while somebody waits. */
  async #inSlot<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      const next = this.#next();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  #next(): (() => void) | undefined {
    const [first] = this.#lines;
    if (first === undefined) return undefined;
    const [key, line] = first;
    const begin = line.shift();
    // The key goes to the end of the round.
    this.#lines.delete(key);
    if (line.length > 0) this.#lines.set(key, line);
    this.#waiting -= 1;
    return begin;
  }
}
