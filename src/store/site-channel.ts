/** Messages between the edges of a site. They reach whoever listens at the moment, its sender too. */
export interface SiteChannel {
  /** Resolves when it is handed over. @throws {StoreError} when it cannot be, after a short and bounded time. */
  publish(message: Uint8Array): Promise<void>;
  /** One listener. `joined` is called whenever listening begins, at first and after a break that was noticed. */
  listen(received: (message: Uint8Array) => void, joined: () => void): void;
  /** Nothing comes any more although it should: listens anew, over another connection. */
  rejoin(): void;
  close(): Promise<void>;
}
