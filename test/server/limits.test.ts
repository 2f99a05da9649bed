import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { reloadsOf } from '../../src/admin/control-client.ts';
import { DEFAULT_LIMITS } from '../../src/config/defaults.ts';
import { get, type Answer, type GetOptions } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { createImage, type ImageFixture } from '../support/images.ts';
import { serveImage, warm } from './fixture.ts';

/** More than wait in a queue of two seconds at the rates here: the others are refused. */
const CLIENTS = 40;
const PATIENT = { readyWithinMs: 60_000 };
const GOOD = { localAddress: '127.0.0.2' };

/** So many requests on connections of their own, a few at a time. */
async function flood(
  count: number,
  urlOf: (n: number) => string,
  options: GetOptions = {},
): Promise<Answer[]> {
  const answers: Answer[] = [];
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) answers.push(await get(urlOf(next++), options));
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return answers;
}

function countOf(answers: readonly Answer[], status: number): number {
  return answers.filter((answer) => answer.status === status).length;
}

void t.test('a flood is answered 429, and nobody else notices', async (t) => {
  const [requestsPerSecond, burst, workers] = [5, 40, 2];
  const limits = { requestsPerSecond, burst };
  const config = { limits, audit: { to: 'audit.log' } };
  const served = await serveImage([3000], { workers, config, ...PATIENT });
  const { edge, image } = served;
  await warm(served);
  const manifest = `${edge.http}/v2/library/app/manifests/${image.digest}`;

  const startedAt = performance.now();
  const flooding = flood(400, (n) => (n % 2 === 0 ? manifest : `${edge.http}/v2/`));
  const good: Answer[] = [];
  for (let n = 0; n < 30; n += 1) good.push(await get(manifest, GOOD));
  const answers = await flooding;
  const seconds = (performance.now() - startedAt) / 1000;

  t.equal(countOf(good, 200), good.length, 'the good client has all of its answers');
  const [through, refused] = [countOf(answers, 200), countOf(answers, 429)];
  t.equal(through + refused, answers.length);
  const most = burst + requestsPerSecond * seconds;
  // Each worker gave what it did not know to be used in the tenth of a second before it was told.
  t.ok(through <= most + burst + requestsPerSecond, `${through} went on in ${seconds} s`);
  t.ok(refused > 0);
  const waits = answers
    .filter(({ status }) => status === 429)
    .map(({ headers }) => headers['retry-after'] ?? '');
  t.ok(
    waits.every((seconds) => /^[1-9]\d?$/.test(seconds)),
    `Retry-After: ${[...new Set(waits)].join(', ')}`,
  );

  await t.test('it is counted, told once, and put on record once', async (t) => {
    const metrics = await edge.metrics();
    t.equal(metrics.value('pierhead_refused_requests_total', { limit: 'address' }), refused);
    t.equal(metrics.value('pierhead_requests_total', { status: '429' }), refused);
    t.ok(metrics.value('pierhead_queued_requests_total', { limit: 'address' }) > 0, 'some waited');
    t.same(
      edge.logs().filter(({ msg, status }) => msg === 'request' && status === 429),
      [],
    );
    const told = edge.logs().filter(({ msg }) => msg === 'refused: over the limit');
    t.ok(told.length >= 1 && told.length <= workers, `${told.length} lines`);
    t.match(told[0], { limit: 'address', address: '127.0.0.1' });
    await edge.stop();
    const record = (await readFile(join(edge.dir, 'audit.log'), 'utf8')).trim().split('\n');
    const denied = record.filter((line) => line.includes('"TOOMANYREQUESTS"'));
    t.ok(denied.length >= 1 && denied.length <= workers, `${denied.length} entries`);
  });
});

void t.test('limits are reloaded', async (t) => {
  const served = await serveImage([3000], {
    workers: 2,
    config: { limits: { requestsPerSecond: 1, burst: 4 } },
    ...PATIENT,
  });
  const { edge } = served;
  const ping = (n: number): string => `${edge.http}/v2/?${n}`;
  t.ok(countOf(await flood(40, ping), 429) > 0);
  const file = join(edge.dir, 'pierhead.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace('"burst": 4', '"burst": 4000'));
  await reloadsOf(join(edge.dir, 'data/v1/control.sock')).reload();
  t.equal(countOf(await flood(40, ping), 200), 40);
});

/** All that docker sends for an image, as its hosts send it: the blobs three at a time, each request on a new connection. */
async function dockerPull(edge: Edge, image: ImageFixture): Promise<number[]> {
  const base = `${edge.http}/v2/library/app`;
  const statuses: number[] = [];
  const ask = async (url: string, method = 'GET'): Promise<void> => {
    const { status, complete } = await get(url, { method });
    statuses.push(complete ? status : 0);
  };
  await ask(`${edge.http}/v2/`);
  await ask(`${base}/manifests/latest`, 'HEAD');
  await ask(`${base}/manifests/${image.digest}`);
  const left = [...image.blobs];
  const fetching = async (): Promise<void> => {
    for (let blob = left.shift(); blob !== undefined; blob = left.shift())
      await ask(`${base}/blobs/${blob.digest}`);
  };
  await Promise.all([fetching(), fetching(), fetching()]);
  return statuses;
}

void t.test(
  '50 hosts behind one address pull an image of 100 layers, at the defaults',
  { timeout: 240_000 },
  async (t) => {
    const layers = Array.from({ length: 100 }, () => 3000);
    const { edge, image, central } = await serveImage(layers, { workers: 2, ...PATIENT });
    const pullAll = async (): Promise<number[]> =>
      (await Promise.all(Array.from({ length: 50 }, () => dockerPull(edge, image)))).flat();
    const cold = await pullAll();
    t.equal(cold.length, 50 * 104);
    t.ok(cold.length < DEFAULT_LIMITS.burst, 'however fast they are');
    t.same(
      cold.filter((status) => status !== 200),
      [],
      'cold',
    );
    t.equal(central.requests('GET', 'blob'), 101);
    t.same(
      (await pullAll()).filter((status) => status !== 200),
      [],
      'warm',
    );
    const metrics = await edge.metrics();
    t.equal(metrics.value('pierhead_refused_requests_total'), 0);
  },
);

void t.test('who asks for random names does not reach the upstream', async (t) => {
  const { edge, central, image } = await serveImage([3000, 4000], { workers: 2, ...PATIENT });
  const other = createImage({ layers: [5000], seed: 'other' });
  central.addImage('library/other', 'v1', other);
  t.equal((await get(`${edge.http}/v2/library/app/manifests/latest`)).status, 200);
  central.forget();
  const random = (n: number): string => {
    const name = `${edge.http}/v2/library/${randomBytes(8).toString('hex')}`;
    const digest = `sha256:${randomBytes(32).toString('hex')}`;
    return (
      [`${name}/manifests/v1`, `${name}/blobs/${digest}`, `${name}/manifests/${digest}`, `${name}/tags/list`][
        n % 4
      ] ?? ''
    );
  };
  const startedAt = performance.now();
  const answers = await flood(600, random);
  const seconds = (performance.now() - startedAt) / 1000;
  const asked = central.requests();
  t.ok(asked <= 100 + 10 * seconds + 1, `${asked} questions in ${seconds} s`);
  t.ok(asked >= 100);
  t.equal(countOf(answers, 404) + countOf(answers, 429), answers.length);
  t.equal(countOf(answers, 404), asked, 'an answer for each');
  const metrics = await edge.metrics();
  t.equal(metrics.value('pierhead_refused_requests_total', { limit: 'unknown' }), countOf(answers, 429));

  await t.test('a pull whose manifest is known goes on to its end, from the same address', async (t) => {
    for (const { digest } of image.blobs)
      t.equal((await get(`${edge.http}/v2/library/app/blobs/${digest}`)).status, 200);
  });
  await t.test('another address has all of its own', async (t) => {
    const ask = async (path: string) => (await get(`${edge.http}/v2/library/other/${path}`, GOOD)).status;
    t.equal(await ask('manifests/v1'), 200);
    for (const { digest } of other.blobs) t.equal(await ask(`blobs/${digest}`), 200);
    t.equal(await ask('manifests/none'), 404);
  });
});
