import { execFileSync } from 'node:child_process';
import { appendFile, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import t from 'tap';
import { AuditChain } from '../../src/audit/audit-chain.ts';
import { AuditFile, NotAnAuditLog } from '../../src/audit/audit-file.ts';
import { verifyAudit } from '../../src/audit/verify-audit.ts';
import { TempFolder } from '../support/temp.ts';
import { entry, linesOf } from './entries.ts';

async function write(path: string, requestId: string): Promise<void> {
  const { sink, end } = await AuditFile.open(path);
  await sink.write(Buffer.from(new AuditChain(end).line(entry({ requestId }))));
  await sink.close();
}

async function verdictOf(...paths: string[]): ReturnType<typeof verifyAudit> {
  const texts = await Promise.all(
    paths.map(async (file) => ({ file, lines: linesOf(await readFile(file, 'utf8')) })),
  );
  return await verifyAudit(texts);
}

void t.test('the file is for its owner alone, and each run goes on with its chain', async (t) => {
  const folder = new TempFolder('audit');
  t.teardown(() => folder.remove());
  const path = folder.join('audit.log');
  await write(path, 'a');
  await write(path, 'b');
  t.equal((await stat(path)).mode & 0o777, 0o600);
  const verdict = await verdictOf(path);
  t.same(verdict.problems, []);
  t.equal(verdict.last?.seq, 2);
});

void t.test('a line that a crash has torn is left as it is, and the chain goes on behind it', async (t) => {
  const folder = new TempFolder('audit');
  t.teardown(() => folder.remove());
  const path = folder.join('audit.log');
  await write(path, 'a');
  await appendFile(path, '{"seq":2,"timest');
  await write(path, 'b');
  const { problems, last } = await verdictOf(path);
  t.same(
    problems.map(({ line }) => line),
    [2],
    'the torn line alone',
  );
  t.equal(last?.seq, 2);
});

void t.test('after a rotation the new file follows the old one', async (t) => {
  const folder = new TempFolder('audit');
  t.teardown(() => folder.remove());
  const path = folder.join('audit.log');
  const { sink, end } = await AuditFile.open(path);
  const chain = new AuditChain(end);
  await sink.write(Buffer.from(chain.line(entry({ requestId: 'a' }))));
  await rename(path, `${path}.1`);
  await sink.reopen();
  await sink.write(Buffer.from(chain.line(entry({ requestId: 'b' }))));
  await sink.close();
  t.match(await readFile(path, 'utf8'), /"requestId":"b"/);
  const verdict = await verdictOf(`${path}.1`, path);
  t.same(verdict.problems, []);
  t.equal(verdict.lines, 2);
});

void t.test('what is no audit log is not written to, and a symbolic link is not followed', async (t) => {
  const folder = new TempFolder('audit');
  t.teardown(() => folder.remove());
  const path = folder.join('notes.txt');
  await writeFile(path, 'milk, bread\n');
  await t.rejects(AuditFile.open(path), NotAnAuditLog);
  t.equal(await readFile(path, 'utf8'), 'milk, bread\n');
  execFileSync('mkfifo', [folder.join('pipe')]);
  await t.rejects(AuditFile.open(folder.join('pipe')), {
    name: 'NotAnAuditLog',
    message: /is a pipe: name a file/,
  });
  await symlink(path, folder.join('link'));
  await t.rejects(AuditFile.open(folder.join('link')), { code: 'ELOOP' });
});
