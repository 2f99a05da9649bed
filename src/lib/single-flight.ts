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

  /** The next asker starts anew. Resolves when the call that was running, if any, has ended one way or the other. */
  async forget(key: K): Promise<void> {
    const running = this.#running.get(key);
    this.#running.delete(key);
    await running?.catch(() => undefined);
  }

  get size(): number {
    return this.#running.size;
  }
}
