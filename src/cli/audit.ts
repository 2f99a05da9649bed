import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { verifyAudit, type AuditText } from '../audit/verify-audit.ts';
import { UsageError } from './usage-error.ts';

/** Follows the chain of an audit log through its files, oldest first. Exit 1 when it is broken anywhere. */
export async function auditVerify(files: readonly string[]): Promise<void> {
  const { lines, first, last, problems } = await verifying(files);
  for (const { file, line, what } of problems) console.log(`${file}:${line}: ${what}`);
  if (first === undefined || last === undefined) {
    console.log(`${files.join(', ')}: no line of an audit log`);
    process.exitCode = 1;
    return;
  }
  const state = problems.length === 0 ? 'unbroken' : `broken in ${problems.length} places`;
  console.log(`${lines} lines, number ${first} to ${last.seq}: ${state}`);
  console.log(`last hash  ${last.hash}`);
  if (problems.length > 0) process.exitCode = 1;
}

async function verifying(files: readonly string[]): ReturnType<typeof verifyAudit> {
  try {
    return await verifyAudit(texts(files));
  } catch (error) {
    const { code, path, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new UsageError(`${path ?? files.join(', ')} cannot be read: ${message}`, { cause: error });
  }
}

function* texts(files: readonly string[]): Generator<AuditText> {
  for (const file of files) yield { file, lines: linesOf(file) };
}

async function* linesOf(file: string): AsyncGenerator<string> {
  // An error of the file alone would not reach whoever reads the lines.
  const input = createReadStream(file, 'utf8');
  const failed = new Promise<never>((_, reject) => {
    input.once('error', reject);
  });
  failed.catch(() => undefined);
  const lines = createInterface({ input, crlfDelay: Infinity })[Symbol.asyncIterator]();
  while (true) {
    const next = await Promise.race([lines.next(), failed]);
    if (next.done === true) return;
    yield next.value;
  }
}
