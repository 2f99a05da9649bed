import { CHAIN_START, readLine, type ChainEnd } from './audit-chain.ts';

export interface AuditProblem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly what: string;
}

export interface AuditVerdict {
  readonly lines: number;
  /** Undefined when there was no line at all. */
  readonly first: number | undefined;
  readonly last: ChainEnd | undefined;
  readonly problems: readonly AuditProblem[];
}

export interface AuditText {
  readonly file: string;
  /** Without their newlines. */
  readonly lines: AsyncIterable<string>;
}

/** A file that is no audit log at all need not be told line by line. */
const MAX_PROBLEMS = 100;

/**
 * Follows the chain through files in the order in which they were written. It may begin anywhere, since old files are
 * taken away; a chain that begins anew (`prev` of zeros) is told too, for lines before it could be missing.
 */
export async function verifyAudit(texts: Iterable<AuditText>): Promise<AuditVerdict> {
  const problems: AuditProblem[] = [];
  let lines = 0;
  let first: number | undefined;
  let last: ChainEnd | undefined;
  for (const text of texts) {
    let line = 0;
    for await (const content of text.lines) {
      line += 1;
      if (content === '') continue;
      lines += 1;
      const tell = (what: string): void => {
        if (problems.length < MAX_PROBLEMS) problems.push({ file: text.file, line, what });
      };
      const read = readLine(content);
      if (read === undefined) {
        tell('is not a line of an audit log, was cut short or was changed');
        continue;
      }
      if (last !== undefined) checkLink(read, last, tell);
      first ??= read.end.seq;
      last = read.end;
    }
  }
  return { lines, first, last, problems };
}

function checkLink(
  { prev, end }: { readonly prev: string; readonly end: ChainEnd },
  last: ChainEnd,
  tell: (what: string) => void,
): void {
  if (prev === last.hash) return;
  if (prev === CHAIN_START.hash) tell(`begins a new chain after line number ${last.seq}`);
  else if (end.seq > last.seq + 1) tell(`${end.seq - last.seq - 1} lines before it are missing`);
  else tell(`does not follow line number ${last.seq}: lines were taken out, put in or moved`);
}
