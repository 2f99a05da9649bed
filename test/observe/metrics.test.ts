import t from 'tap';
import { countersOf, exposition, KeeperMetrics, WorkerMetrics } from '../../src/observe/metrics.ts';
import { parseMetrics } from '../support/metrics.ts';

void t.test('counters are summed over the processes, gauges stand by process', async (t) => {
  const workers = [new WorkerMetrics('worker 1'), new WorkerMetrics('worker 2')];
  for (const [at, worker] of workers.entries()) {
    for (let count = 0; count <= at; count += 1) worker.answered('blob', 200, 'hit', 20);
    worker.servedBytes.inc(1000);
  }
  let stored = 7;
  const keeper = new KeeperMetrics('keeper', {
    fillsRunning: () => 1,
    storedBytes: () => stored,
    storedObjects: () => 2,
    maxBytes: () => 100,
    filesystem: async () => ({ totalBytes: 1000, availableBytes: 300 }),
    workers: () => 2,
  });
  keeper.upstreamBytes.inc(500);
  keeper.upstreamUp.set({ upstream: 'docker.io' }, 1);
  stored = 9;
  const snapshots = await Promise.all([...workers, keeper].map((metrics) => metrics.snapshot()));
  // As they come over a channel between processes.
  const received = JSON.parse(JSON.stringify(snapshots)) as typeof snapshots;
  const { contentType, text } = await exposition(received);
  t.match(contentType, /^text\/plain; version=0\.0\.4/);
  const metrics = parseMetrics(text);
  t.equal(metrics.value('pierhead_requests_total', { route: 'blob', status: '200', cache: 'hit' }), 3);
  t.equal(metrics.value('pierhead_served_bytes_total'), 2000);
  t.equal(metrics.value('pierhead_request_duration_seconds_count', { route: 'blob' }), 3);
  t.equal(metrics.value('pierhead_upstream_bytes_total'), 500);
  t.equal(metrics.value('pierhead_storage_bytes'), 9, 'gauges are read when they are asked for');
  t.equal(metrics.value('pierhead_storage_max_bytes'), 100);
  t.equal(metrics.value('pierhead_storage_filesystem_bytes'), 1000);
  t.equal(metrics.value('pierhead_storage_filesystem_available_bytes'), 300);
  for (const process of ['worker 1', 'worker 2', 'keeper'])
    t.ok(metrics.value('pierhead_resident_memory_bytes', { process }) > 1e6, process);
  for (const line of text.split('\n').filter((line) => line.startsWith('# TYPE')))
    t.match(line, /^# TYPE pierhead_/, 'one prefix');
});

void t.test('of a process that is gone, the counters stay', async (t) => {
  const worker = new WorkerMetrics('worker 1');
  worker.servedBytes.inc(10);
  worker.answered('blob', 200, 'hit', 1000);
  const { text } = await exposition([countersOf(await worker.snapshot())]);
  const metrics = parseMetrics(text);
  t.equal(metrics.value('pierhead_served_bytes_total'), 10);
  t.equal(metrics.value('pierhead_request_duration_seconds_count'), 1);
  t.notMatch(text, /pierhead_resident_memory_bytes|pierhead_event_loop_delay/);
});
