import { pino, stdTimeFunctions, type Logger, type LevelWithSilent } from 'pino';
import { plainJson } from '../lib/plain-json.ts';
import { LineWriter } from './line-writer.ts';

export type Log = Logger;
export type LogLevel = LevelWithSilent;

/**
 * JSON lines on standard output, written behind: a log that nobody reads never holds up a request.
 * Only named facts are logged, never headers or URLs, so that no credential can come along.
 */
export function createLog(level: LogLevel, process: string, writer = new LineWriter(1)): Log {
  // pino's own destination retries at exit until somebody reads, and an orphaned worker would never end.
  globalThis.process.on('exit', () => writer.flushSync());
  return pino(
    {
      level,
      base: { process },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => writer.write(plainJson(line)) },
  );
}
