import { destination, pino, stdTimeFunctions, type Logger, type LevelWithSilent } from 'pino';

export type Log = Logger;
export type LogLevel = LevelWithSilent;

/** Several processes write to one pipe: what is written at once stays whole up to this (PIPE_BUF, POSIX write(2)). */
const ATOMIC_WRITE_BYTES = 4096;

/**
 * JSON lines on standard output, written behind: a log that nobody reads never holds up a request.
 * Only named facts are logged, never headers or URLs, so that no credential can come along.
 */
export function createLog(level: LogLevel, process: string): Log {
  return pino(
    {
      level,
      base: { process },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ fd: 1, sync: false, maxWrite: ATOMIC_WRITE_BYTES }),
  );
}
