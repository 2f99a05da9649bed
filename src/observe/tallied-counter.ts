import { Counter, type CounterConfiguration } from 'prom-client';

interface Tally<Label extends string> {
  readonly labels: Readonly<Record<Label, string | number>>;
  sum: number;
}

/**
 * A counter on the way of every request: what comes is summed by its label values, and counted when the counter is read. To
 * hash and check labels, as `inc` does, takes longer than all else about counting.
 */
export class TalliedCounter<Label extends string> extends Counter<Label> {
  readonly #pending: Map<string, Tally<Label>>;

  constructor(configuration: CounterConfiguration<Label>) {
    const pending = new Map<string, Tally<Label>>();
    super({
      ...configuration,
      collect() {
        for (const { labels, sum } of pending.values()) this.inc(labels, sum);
        pending.clear();
      },
    });
    this.#pending = pending;
  }

  /** `key` is one for one with what `labels` gives. */
  add(key: string, count: number, labels: () => Record<Label, string | number>): void {
    const tally = this.#pending.get(key);
    if (tally === undefined) this.#pending.set(key, { labels: labels(), sum: count });
    else tally.sum += count;
  }
}
