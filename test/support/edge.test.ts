import { existsSync, readdirSync } from 'node:fs';
import t from 'tap';
import { startEdge } from './edge.ts';
import { parseMetrics } from './metrics.ts';
import { tempFolder } from './temp.ts';

void t.test('an edge that does not start says why, and leaves nothing behind', async (t) => {
  const dir = tempFolder(t);
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = dir;
  t.teardown(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });
  await t.rejects(startEdge({ flags: ['--no-such-flag'] }), { message: /ended at once[^]*\w/ });
  t.same(readdirSync(dir), []);
  t.ok(existsSync(dir));
});

void t.test('reads the text format of Prometheus', async (t) => {
  const metrics = parseMetrics(
    [
      '# HELP pierhead_requests_total Requests.',
      'pierhead_requests_total{kind="blob",result="hit"} 3',
      'pierhead_requests_total{kind="blob",result="miss"} 2',
      'pierhead_requests_total{kind="manifest",result="hit"} 1.5e3 1700000000',
      String.raw`odd{text="a \"quoted\\\" } word"} +Inf`,
      'plain 7',
    ].join('\n'),
  );
  t.equal(metrics.value('pierhead_requests_total', { kind: 'blob' }), 5);
  t.equal(metrics.value('pierhead_requests_total'), 1505);
  t.equal(metrics.value('plain'), 7);
  t.equal(metrics.value('absent'), 0);
  t.same(metrics.find('odd'), [
    { name: 'odd', labels: { text: String.raw`a "quoted\" } word` }, value: Infinity },
  ]);
});
