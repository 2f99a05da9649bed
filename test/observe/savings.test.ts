import { Registry } from 'prom-client';
import t from 'tap';
import { Savings } from '../../src/observe/savings.ts';
import { parseMetrics } from '../support/metrics.ts';

const REPOSITORY_BYTES = 'pierhead_repository_saved_bytes_total';

void t.test('bytes saved are counted by upstream and by repository', async (t) => {
  const registry = new Registry();
  const savings = new Savings(registry);
  savings.add('docker.io', 'library/alpine', 10);
  savings.add('docker.io', 'library/alpine', 5);
  savings.add('ghcr.io', 'library/alpine', 1);
  const metrics = parseMetrics(await registry.metrics());
  t.equal(metrics.value('pierhead_saved_bytes_total', { upstream: 'docker.io' }), 15);
  t.equal(metrics.value('pierhead_saved_bytes_total', { upstream: 'ghcr.io' }), 1);
  t.equal(metrics.value(REPOSITORY_BYTES, { upstream: 'docker.io', repository: 'library/alpine' }), 15);
});

void t.test('however many repositories there are, the series stay few and nothing is lost', async (t) => {
  const registry = new Registry();
  const savings = new Savings(registry);
  for (let n = 0; n < 5000; n += 1) savings.add('docker.io', `team/app-${n}`, 1);
  // One that came early keeps its series.
  savings.add('docker.io', 'team/app-0', 1);
  const metrics = parseMetrics(await registry.metrics());
  t.equal(metrics.find(REPOSITORY_BYTES).length, 201);
  t.equal(metrics.value(REPOSITORY_BYTES), 5001);
  t.equal(metrics.value(REPOSITORY_BYTES, { repository: 'team/app-0' }), 2);
  t.equal(metrics.value(REPOSITORY_BYTES, { repository: 'other' }), 4800);
});
