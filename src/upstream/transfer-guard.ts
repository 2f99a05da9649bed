import { errors, type Dispatcher } from 'undici';
import type { Timeouts } from './upstream.ts';

/** A body that brings less than this, in a whole idle window, is a drip that would hold a fill for ever. */
const LEAST_BYTES_PER_SECOND = 1024;

/**
 * What undici's own timeouts leave open: the time to the headers holds to the millisecond and is not lengthened by
 * interim (1xx) answers, and a body that trickles is given up. A reader that is slow itself is not held against the upstream.
 */
export function transferGuard(
  timeouts: Pick<Timeouts, 'headers' | 'bodyIdle'>,
): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => dispatch(options, new GuardedHandler(handler, timeouts));
}

class GuardedHandler implements Dispatcher.DispatchHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #timeouts: Pick<Timeouts, 'headers' | 'bodyIdle'>;
  #timer: NodeJS.Timeout | undefined;
  #windowBytes = 0;
  #pausedInWindow = false;

  constructor(handler: Dispatcher.DispatchHandler, timeouts: Pick<Timeouts, 'headers' | 'bodyIdle'>) {
    this.#handler = handler;
    this.#timeouts = timeouts;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    clearTimeout(this.#timer);
    const expire = (): void => controller.abort(new errors.HeadersTimeoutError());
    this.#timer = setTimeout(expire, this.#timeouts.headers).unref();
    this.#handler.onRequestStart?.(controller, context);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    statusMessage?: string,
  ): void {
    if (status >= 200) {
      clearTimeout(this.#timer);
      this.#timer = setInterval(() => this.#endWindow(controller), this.#timeouts.bodyIdle).unref();
    }
    this.#handler.onResponseStart?.(controller, status, headers, statusMessage);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#windowBytes += chunk.length;
    this.#handler.onResponseData?.(controller, chunk);
    this.#pausedInWindow ||= controller.paused;
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: Record<string, string>): void {
    clearInterval(this.#timer);
    this.#handler.onResponseEnd?.(controller, trailers);
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    clearInterval(this.#timer);
    this.#handler.onResponseError?.(controller, error);
  }

  #endWindow(controller: Dispatcher.DispatchController): void {
    const least = (LEAST_BYTES_PER_SECOND * this.#timeouts.bodyIdle) / 1000;
    if (!this.#pausedInWindow && this.#windowBytes < least) {
      controller.abort(
        new errors.BodyTimeoutError(`body slower than ${LEAST_BYTES_PER_SECOND} bytes a second`),
      );
    }
    this.#windowBytes = 0;
    this.#pausedInWindow = controller.paused;
  }
}
