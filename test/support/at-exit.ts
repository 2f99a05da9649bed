const ENDING_SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Runs `action` when this process ends without having called the returned function: by `process.exit`, by an exception,
 * or by a signal. The last action registered runs first. It must be synchronous; what it throws is reported and the
 * next one runs.
 */
export function atExit(action: () => void): () => void {
  const listener = (): void => {
    try {
      action();
    } catch (error) {
      console.error(error);
    }
  };
  // Node warns of a leak at eleven listeners; a test with a dozen parts is none.
  process.setMaxListeners(Math.max(process.getMaxListeners(), process.listenerCount('exit') + 10));
  const signals = Object.entries(ENDING_SIGNALS) as [keyof typeof ENDING_SIGNALS, number][];
  // A signal that nobody handles would end the process without its exit listeners.
  const handlers = signals.map(([signal, code]) => {
    const handler = (): void => process.exit(code);
    process.on(signal, handler);
    return { signal, handler };
  });
  // The last thing that was made goes first: a process before the folder that it works in.
  process.prependListener('exit', listener);
  return () => {
    process.off('exit', listener);
    for (const { signal, handler } of handlers) process.off(signal, handler);
  };
}
