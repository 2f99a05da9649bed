import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { createImage } from '../support/images.ts';

/** What registries and the stores behind them have been seen to send, and what would be believed of this edge. */
const LEAKS = {
  'x-ms-copy-source': 'https://account.blob.core.windows.net/secret',
  'x-amz-meta-owner': 'canary',
  'x-goog-meta-owner': 'canary',
  'x-cache': 'canary',
  'x-powered-by': 'canary',
  'x-forwarded-for': '10.9.8.7',
  'set-cookie': 'session=canary',
  server: 'canary',
  via: '1.1 canary',
  location: 'https://canary.example/',
  link: '<https://canary.example/>; rel="next"; n=1',
  refresh: '0; url=https://canary.example/',
  warning: '199 canary',
  'access-control-allow-origin': '*',
  'strict-transport-security': 'max-age=1',
  'www-authenticate': 'Basic realm="canary"',
  'content-disposition': 'attachment; filename="canary"',
  'content-security-policy': 'canary',
  'docker-distribution-api-version': 'canary/9',
  'x-request-id': 'canary',
  'cache-status': 'canary; hit',
};

/** Everything that this edge ever says about a pull. */
const SAID = new Set(
  `connection keep-alive date transfer-encoding content-type content-length etag docker-distribution-api-version
  docker-content-digest x-request-id x-content-type-options cache-status cache-control
  accept-ranges content-range allow retry-after oci-filters-applied link warning`.split(/\s+/),
);

const central = await startCentral();
t.teardown(() => central.stop());
const image = createImage({ layers: [3000, 200_000] });
central.addImage('app', 'latest', image);
central.on({ when: ({ kind }) => kind !== 'tags' }, { kind: 'headers', headers: LEAKS });
central.on({ kind: 'tags' }, { kind: 'headers', headers: { ...LEAKS, link: undefined } });
const edge = await startEdge({
  config: {
    upstreams: [{ name: 'central', url: central.url, default: true, catalog: true }],
    freshness: { tag: '1s' },
  },
});
t.teardown(() => edge.remove());

const [config, layer] = image.blobs;
const TARGETS = [
  '',
  'app/manifests/latest',
  `app/manifests/${image.digest}`,
  'app/manifests/absent',
  `app/blobs/${config?.digest}`,
  `app/blobs/${layer?.digest}`,
  `app/blobs/sha256:${'0'.repeat(64)}`,
  'app/tags/list',
  'other/tags/list',
  `app/referrers/${image.digest}`,
  '_catalog',
];

void t.test('of the upstream’s headers none passes that is not on the list, cold or warm', async (t) => {
  for (const round of ['cold', 'warm']) {
    for (const target of TARGETS) {
      for (const method of ['HEAD', 'GET', 'GET']) {
        const name = `${round} ${method} ${target}`;
        const answer = await get(`${edge.http}/v2/${target}`, { method, keepBody: true });
        const unknown = Object.keys(answer.headers).filter((header) => !SAID.has(header));
        t.same(unknown, [], name);
        t.notMatch(answer.rawHeaders.join('\n'), /canary|secret|10\.9\.8\.7/i, name);
        if (!target.includes('blobs') && answer.status >= 400)
          t.notMatch(answer.body.toString(), /canary|127\.0\.0\.1/);
      }
    }
  }
  t.ok(central.log.length > 0);
});

void t.test('nor when the upstream refuses, breaks or sends us elsewhere', async (t) => {
  for (const status of [301, 400, 401, 403, 404, 418, 429, 500, 503]) {
    const fault = central.on({}, { kind: 'status', status, headers: LEAKS, body: 'canary <script>' });
    for (const target of [
      `new${status}/manifests/v1`,
      `new${status}/blobs/sha256:${'1'.repeat(64)}`,
      `new${status}/tags/list`,
    ]) {
      const answer = await get(`${edge.http}/v2/${target}`, { keepBody: true });
      t.ok(answer.status >= 400, `${status} ${target}`);
      t.same(
        Object.keys(answer.headers).filter((header) => !SAID.has(header)),
        [],
      );
      t.notMatch(answer.rawHeaders.join('\n'), /canary/i);
      t.notMatch(
        answer.body.toString(),
        /canary|127\.0\.0\.1/,
        `${status} ${target}: ${answer.body.toString()}`,
      );
    }
    fault.remove();
  }
});
