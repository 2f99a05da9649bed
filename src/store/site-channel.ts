/** Messages between the edges of a site: to whoever listens at the moment, in no order that can be relied on. */
export interface SiteChannel {
  /** Resolves when it is handed over. @throws {StoreError} when it cannot be, after a short and bounded time. */
  publish(message: Uint8Array): Promise<void>;
  /**
   * One listener. `joined` is called whenever listening begins, at first and after each break: what was published
   * before is missed.
   */
  listen(received: (message: Uint8Array) => void, joined: () => void): void;
  close(): Promise<void>;
}
