import { assert, constantFrom, oneof, property, string } from 'fast-check';
import t from 'tap';
import { AuditChain, readLine } from '../../src/audit/audit-chain.ts';
import { verifyAudit } from '../../src/audit/verify-audit.ts';
import { entry, linesOf } from './entries.ts';

async function problemsOf(...lines: string[]): Promise<string[]> {
  const { problems } = await verifyAudit([{ file: 'a', lines: linesOf(lines.join('')) }]);
  return problems.map(({ line, what }) => `${line}: ${what}`);
}

function chain(length: number): string[] {
  const chain = new AuditChain();
  return Array.from({ length }, (_, n) => chain.line(entry({ requestId: `r${n}` })));
}

void t.test('a line holds what was decided, its number, the hash before it and its own', async (t) => {
  const [first = '', second = ''] = chain(2);
  const content = JSON.parse(second) as Record<string, unknown>;
  t.match(content, { ...entry({ requestId: 'r1' }), seq: 2, prev: readLine(first.trimEnd())?.end.hash });
  t.same(Object.keys(content).at(-1), 'hash');
});

void t.test('an unbroken chain has no problems, from its start or from anywhere', async (t) => {
  const lines = chain(5);
  t.same(await problemsOf(...lines), []);
  t.same(await problemsOf(...lines.slice(2)), []);
  const verdict = await verifyAudit([
    { file: 'old', lines: linesOf(lines.slice(0, 2).join('')) },
    { file: 'new', lines: linesOf(lines.slice(2).join('')) },
  ]);
  t.same(verdict.problems, []);
  t.equal(verdict.lines, 5);
  t.equal(verdict.first, 1);
  t.equal(verdict.last?.seq, 5);
});

void t.test('whatever is done to a line shows at its place', async (t) => {
  const lines = chain(5);
  const [a = '', b = '', c = '', d = '', e = ''] = lines;
  t.same(await problemsOf(a, b.replace('10.0.0.7', '10.0.0.8'), c), [
    '2: is not a line of an audit log, was cut short or was changed',
    '3: 1 lines before it are missing',
  ]);
  t.same(await problemsOf(a, b, d, e), ['3: 1 lines before it are missing']);
  t.same(await problemsOf(a, c, b), [
    '2: 1 lines before it are missing',
    '3: does not follow line number 3: lines were taken out, put in or moved',
  ]);
  t.same(await problemsOf(a, b, b, c), [
    '3: does not follow line number 2: lines were taken out, put in or moved',
  ]);
  const other = new AuditChain();
  t.same(await problemsOf(a, b, other.line(entry())), ['3: begins a new chain after line number 2']);
  t.same(await problemsOf(a, b.slice(0, -20)), [
    '2: is not a line of an audit log, was cut short or was changed',
  ]);
});

void t.test('a line that is forged with a right hash of its own still breaks the chain', async (t) => {
  const [a = '', , c = ''] = chain(3);
  const forger = new AuditChain({ seq: 1, hash: readLine(a.trimEnd())?.end.hash ?? '' });
  t.same(await problemsOf(a, forger.line(entry({ ip: '10.9.9.9' })), c), [
    '3: does not follow line number 2: lines were taken out, put in or moved',
  ]);
});

void t.test('whatever a caller sends, an entry is one line of plain text that says the same', async (t) => {
  const nasty = oneof(
    string({ unit: 'binary' }),
    constantFrom('a\r\n{"seq":1}', '\u001b[31m', '\u2028', '\u0085', '","hash":"x"}', '\u0000'),
  );
  assert(
    property(nasty, nasty, (user, repository) => {
      const line = new AuditChain().line(entry({ user, repository }));
      const read = JSON.parse(line) as { user: string; repository: string };
      // oxlint-disable-next-line no-control-regex
      const plain = !/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029]/.test(line);
      const whole = line.indexOf('\n') === line.length - 1;
      return plain && whole && readLine(line.trimEnd()) !== undefined && read.user === user.toWellFormed();
    }),
  );
  t.pass('property held');
});
