import t from 'tap';
import { AuditLog, type AuditSink } from '../../src/audit/audit-log.ts';
import { verifyAudit } from '../../src/audit/verify-audit.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { eventually } from '../support/eventually.ts';
import { entry, linesOf } from './entries.ts';

/** Takes what it is told to take. */
class Paper implements AuditSink {
  text = '';
  takes = Infinity;
  closed = false;

  async write(bytes: Uint8Array): Promise<number> {
    if (this.takes === 0) throw new Error('the paper is full');
    const taken = bytes.subarray(0, this.takes);
    this.text += Buffer.from(taken).toString();
    return taken.byteLength;
  }

  async reopen(): Promise<void> {
    this.text = '';
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  /** Actions, or requests where there are some, line by line. */
  get lines(): string[] {
    return this.text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { action: string; requestId: string })
      .map(({ action, requestId }) => requestId || action);
  }

  async problems(): Promise<number> {
    return (await verifyAudit([{ file: 'paper', lines: linesOf(this.text) }])).problems.length;
  }
}

function setUp(): { paper: Paper; clock: FakeClock; log: AuditLog; failures: number[] } {
  const paper = new Paper();
  const clock = new FakeClock();
  const failures: number[] = [];
  const log = new AuditLog({ sink: paper, clock, events: { failed: (lost) => void failures.push(lost) } });
  return { paper, clock, log, failures };
}

void t.test('entries are written in order, between the start and the end', async (t) => {
  const { paper, log } = setUp();
  log.add([entry({ requestId: 'a' }), entry({ requestId: 'b' })]);
  log.add([entry({ requestId: 'c' })]);
  await log.close();
  t.same(paper.lines, ['audit.start', 'a', 'b', 'c', 'audit.stop']);
  t.equal(await paper.problems(), 0);
  t.ok(paper.closed);
});

void t.test('a sink that takes lines in pieces gets each whole and once', async (t) => {
  const { paper, log } = setUp();
  paper.takes = 100;
  log.add([entry({ requestId: 'a' }), entry({ requestId: 'b' })]);
  await log.close();
  t.same(paper.lines, ['audit.start', 'a', 'b', 'audit.stop']);
  t.equal(await paper.problems(), 0);
});

void t.test('what is refused waits, and is written when the sink takes it again', async (t) => {
  const { paper, clock, log, failures } = setUp();
  paper.takes = 0;
  log.add([entry({ requestId: 'a' })]);
  await eventually(() => failures.length === 1);
  log.add([entry({ requestId: 'b' })]);
  paper.takes = 150;
  await clock.advance(1000);
  await eventually(() => paper.lines.length === 3);
  t.same(paper.lines, ['audit.start', 'a', 'b']);
  t.equal(await paper.problems(), 0);
  t.same(failures, [0], 'told, and nothing was lost');
  await log.close();
});

void t.test('beyond a bound entries are lost: counted at once, on record afterwards', async (t) => {
  const { paper, clock, log, failures } = setUp();
  paper.takes = 0;
  const many = Array.from({ length: 1000 }, () => entry({ reason: 'x'.repeat(1000) }));
  for (let n = 0; n < 10; n += 1) log.add(many);
  const lost = failures.reduce((sum, count) => sum + count, 0);
  t.ok(lost > 1000 && lost < 5000, `${lost} lost`);
  await eventually(() => failures.includes(0));
  paper.takes = Infinity;
  await clock.advance(1000);
  await eventually(() => paper.lines.length === 10_000 - lost + 1);
  log.add([entry({ requestId: 'after' })]);
  await log.close();
  t.same(paper.lines.slice(-3), ['audit.lost', 'after', 'audit.stop']);
  t.match(paper.text, `${lost} entries could not be written`);
  t.equal(await paper.problems(), 0);
});

void t.test('the end of the edge does not wait for a sink that takes nothing', async (t) => {
  const { paper, log, failures } = setUp();
  paper.takes = 0;
  log.add([entry()]);
  await eventually(() => failures.length > 0);
  await log.close();
  t.ok(paper.closed);
});

void t.test('nor for one that never answers', async (t) => {
  const { paper, log } = setUp();
  paper.write = async () => await new Promise<never>(() => undefined);
  log.add([entry()]);
  await log.close();
  t.ok(paper.closed);
});
