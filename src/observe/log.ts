import { pino, stdTimeFunctions, type Logger, type LevelWithSilent } from 'pino';
import { plainLine } from '../lib/plain-line.ts';
import { LineWriter } from './line-writer.ts';
import { Redaction, withoutCredentials } from './redaction.ts';

export type Log = Logger;
export type LogLevel = LevelWithSilent;

/**
 * JSON lines on standard output, written behind: a log that nobody reads never holds up a request.
 * Only named facts are logged, never headers or URLs; should a credential come along all the same, it is not printed.
 */
export function createLog(level: LogLevel, process: string, writer = new LineWriter(1)): Log {
  // pino's own destination retries at exit until somebody reads, and an orphaned worker would never end.
  globalThis.process.on('exit', () => writer.flushSync());
  const redaction = new Redaction();
  const log: Log = pino(
    {
      level,
      base: { process },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: (facts) => redaction.of(facts) },
      // Errors have been made plain by then.
      serializers: { err: (error: unknown) => error },
    },
    { write: (line) => writer.write(plainLine(withoutCredentials(line))) },
  );
  // What a child is bound to is written by another way than what is logged. Its own children have it from the prototype.
  const child: unknown = Reflect.get(log, 'child');
  if (typeof child !== 'function') throw new Error('a log without children');
  log.child = function bound(this: Log, bindings, options) {
    return Reflect.apply(child, this, [redaction.of(bindings), options]) as ReturnType<Log['child']>;
  } as Log['child'];
  return log;
}
