/** One running call per key, however many ask: later askers share the promise of the first. */
export class SingleFlight<K, V> {
  readonly #running = new Map<K, Promise<V>>();

  run(key: K, work: () => Promise<V>): Promise<V> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const promise = work().finally(() => {
      if (this.#running.get(key) === promise) this.#running.delete(key);
    });
    this.#running.set(key, promise);
    return promise;
  }

  /** What runs goes on for those who wait for it; the next asker starts anew. */
  forget(key: K): void {
    this.#running.delete(key);
  }

  get size(): number {
    return this.#running.size;
  }
}
