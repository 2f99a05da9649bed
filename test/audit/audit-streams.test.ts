import t from 'tap';
import { AuditChain } from '../../src/audit/audit-chain.ts';
import { AuditStdout } from '../../src/audit/audit-streams.ts';
import { entry } from './entries.ts';

function batch(count: number): Buffer {
  const chain = new AuditChain();
  return Buffer.from(Array.from({ length: count }, () => chain.line(entry({ user: 'ä' }))).join(''));
}

void t.test('standard output gets line by line, each whole', async (t) => {
  const lines: string[] = [];
  const sink = new AuditStdout((line) => lines.push(line) > 0);
  const bytes = batch(5);
  t.equal(await sink.write(bytes), bytes.byteLength);
  t.equal(lines.length, 5);
  t.equal(lines.join(''), bytes.toString());
  for (const line of lines) t.match(line, /^\{.*\}\n$/);
});

void t.test('where nobody reads, lines wait and are not taken for written', async (t) => {
  const lines: string[] = [];
  let room = 2;
  const sink = new AuditStdout((line) => {
    if (room === 0) return false;
    room -= 1;
    lines.push(line);
    return true;
  });
  const bytes = batch(5);
  const taken = await sink.write(bytes);
  t.equal(taken, Buffer.byteLength(lines.join('')));
  t.equal(lines.length, 2);
  await t.rejects(sink.write(bytes.subarray(taken)), /nobody reads/);
  room = 10;
  t.equal(await sink.write(bytes.subarray(taken)), bytes.byteLength - taken);
  t.equal(lines.join(''), bytes.toString());
});
