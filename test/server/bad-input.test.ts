import t from 'tap';
import { get } from '../support/clients.ts';
import { serveImage } from './fixture.ts';
import { exchange } from './raw.ts';

// Cold: whatever got through would have to ask the central.
const { edge, central, image } = await serveImage([3000]);

const HEX = 'a'.repeat(64);
const DIGEST = `sha256:${HEX}`;
const layer = `/v2/library/app/blobs/${image.layers[0]?.digest}`;

/** What is asked, the spec's answer, and what the detail names. */
type Case = readonly [target: string, status: number, code: string, detail: RegExp | string];

const NAMES: readonly Case[] = [
  ['/v2/Library/app/manifests/latest', 400, 'NAME_INVALID', '"Library/app"'],
  ['/v2/library/-app/manifests/latest', 400, 'NAME_INVALID', '"library/-app"'],
  ['/v2/library/app-/manifests/latest', 400, 'NAME_INVALID', '"library/app-"'],
  ['/v2/library/a..b/manifests/latest', 400, 'NAME_INVALID', '"library/a..b"'],
  ['/v2/library//app/manifests/latest', 400, 'NAME_INVALID', '"library//app"'],
  ['/v2//manifests/latest', 400, 'NAME_INVALID', '""'],
  ['/v2/manifests/latest', 400, 'NAME_INVALID', '""'],
  ['/v2/../app/manifests/latest', 400, 'NAME_INVALID', '"../app"'],
  ['/v2/./app/manifests/latest', 400, 'NAME_INVALID', '"./app"'],
  ['/v2/library/app%2fx/manifests/latest', 400, 'NAME_INVALID', 'escapes'],
  ['/v2/library/%00/manifests/latest', 400, 'NAME_INVALID', 'escapes'],
  ['/v2/a;b/manifests/latest', 400, 'NAME_INVALID', '"a;b"'],
  [`/v2/${'a'.repeat(256)}/manifests/latest`, 400, 'NAME_INVALID', /^"a{80}…"/],
  [`/v2/library/app/manifests/${'a/'.repeat(2500)}`, 400, 'NAME_INVALID', 'too long'],
  [`/v2/app/_manifests/blobs/${DIGEST}`, 400, 'NAME_INVALID', '"app/_manifests"'],
];

const REFERENCES: readonly Case[] = [
  ['/v2/library/app/manifests/-latest', 400, 'MANIFEST_INVALID', '"-latest"'],
  ['/v2/library/app/manifests/', 400, 'MANIFEST_INVALID', '""'],
  [`/v2/library/app/manifests/${'a'.repeat(129)}`, 400, 'MANIFEST_INVALID', 'not a tag'],
  ['/v2/library/app/manifests/la!test', 400, 'MANIFEST_INVALID', '"la!test"'],
  [`/v2/library/app/manifests/md5:${HEX}`, 400, 'DIGEST_INVALID', 'md5:'],
  ['/v2/library/app/manifests/sha256:abc', 400, 'DIGEST_INVALID', '"sha256:abc"'],
  ['/v2/library/app/blobs/latest', 400, 'DIGEST_INVALID', '"latest"'],
  [`/v2/library/app/blobs/sha256:${HEX.toUpperCase()}`, 400, 'DIGEST_INVALID', 'lower case'],
  [`/v2/library/app/blobs/sha256:${HEX}0`, 400, 'DIGEST_INVALID', 'sha256:'],
  [`/v2/library/app/blobs/sha512:${HEX}`, 400, 'DIGEST_INVALID', 'sha512:'],
  ['/v2/library/app/blobs/', 400, 'DIGEST_INVALID', '""'],
  [`/v2/library/app/blobs/${DIGEST}/..`, 404, 'NAME_UNKNOWN', 'no such route'],
  [`/v2/library/app/referrers/sha256:x`, 400, 'DIGEST_INVALID', '"sha256:x"'],
];

const QUERIES: readonly Case[] = [
  ['/v2/library/app/tags/list?n=many', 400, 'SIZE_INVALID', '"many"'],
  ['/v2/library/app/tags/list?n=-1', 400, 'SIZE_INVALID', '"-1"'],
  ['/v2/library/app/tags/list?n=1e3', 400, 'SIZE_INVALID', '"1e3"'],
  ['/v2/library/app/tags/list?n=', 400, 'SIZE_INVALID', '""'],
  ['/v2/library/app/tags/list?n=9999999999', 400, 'SIZE_INVALID', 'n takes a number'],
  ['/v2/library/app/tags/list?n=1&n=2', 400, 'NAME_INVALID', 'n is given more than once'],
  ['/v2/library/app/manifests/latest?ns=central&ns=other', 400, 'NAME_INVALID', 'ns is given more than once'],
  ['/v2/library/app/manifests/latest?ns=127.0.0.1:1', 404, 'NAME_UNKNOWN', 'no upstream of that namespace'],
  ['/v2/library/app/manifests/latest?ns=', 404, 'NAME_UNKNOWN', 'no upstream of that namespace'],
  ['/v2/library/app/manifests/latest?ns=__proto__', 404, 'NAME_UNKNOWN', 'no upstream of that namespace'],
  ['/v2/library/app/manifests/latest?x=#y', 400, 'NAME_INVALID', '#'],
];

const ROUTES: readonly Case[] = [
  ['/', 404, 'NAME_UNKNOWN', 'only /v2/'],
  ['/v1/_ping', 404, 'NAME_UNKNOWN', 'only /v2/'],
  ['/metrics', 404, 'NAME_UNKNOWN', 'only /v2/'],
  ['/v2/library/app', 404, 'NAME_UNKNOWN', 'no such route'],
  ['/v2/library/app/tags', 404, 'NAME_UNKNOWN', 'no such route'],
  ['/v2/library/app/manifests', 404, 'NAME_UNKNOWN', 'no such route'],
  ['/v2/_catalog', 403, 'DENIED', 'catalog'],
];

for (const [subject, cases] of Object.entries({ NAMES, REFERENCES, QUERIES, ROUTES })) {
  void t.test(`${subject.toLowerCase()} that are none`, async (t) => {
    for (const [target, status, code, detail] of cases) {
      const shown = target.slice(0, 80);
      const { answers } = await exchange(edge.http, request('GET', target), { answers: 1 });
      t.equal(answers[0]?.status, status, shown);
      t.match(JSON.parse(answers[0]?.body ?? ''), { errors: [{ code, message: String, detail }] }, shown);
      t.equal(answers[0]?.headers['content-type'], 'application/json', shown);
      const head = await exchange(edge.http, request('HEAD', target), { answers: 1, head: true });
      t.equal(head.answers[0]?.status, status, `HEAD ${shown}`);
      t.equal(head.answers[0]?.headers['content-length'], answers[0]?.headers['content-length'], shown);
      t.equal(head.rest, '', 'without a body');
    }
    t.same(central.log, [], 'and the central was not asked');
  });
}

void t.test('ranges that are none', async (t) => {
  for (const range of ['bytes', 'bytes=', 'bytes=-', 'bytes=a-b', 'bytes=5-2', 'bytes=0x1-', 'bytes=1 -2']) {
    const { status, body } = await get(edge.http + layer, { headers: { range }, keepBody: true });
    t.equal(status, 400, range);
    t.match(JSON.parse(body.toString()), { errors: [{ code: 'SIZE_INVALID', detail: /bytes=first-last/ }] });
  }
  t.same(central.log, []);
});

void t.test('everything that is not a pull', async (t) => {
  for (const [method, target] of [
    ['POST', '/v2/library/app/blobs/uploads/'],
    ['POST', `/v2/library/app/blobs/uploads/?mount=${DIGEST}&from=library/other`],
    ['PATCH', '/v2/library/app/blobs/uploads/1234'],
    ['PUT', `/v2/library/app/blobs/uploads/1234?digest=${DIGEST}`],
    ['GET', '/v2/library/app/blobs/uploads/1234'],
    ['PUT', '/v2/library/app/manifests/latest'],
    ['DELETE', '/v2/library/app/manifests/latest'],
    ['DELETE', layer],
    ['POST', '/v2/'],
  ] as const) {
    const body = method === 'PUT' || method === 'PATCH' ? '{}' : '';
    const answer = await get(edge.http + target, { method, body, keepBody: true });
    t.equal(answer.status, 405, `${method} ${target}`);
    t.equal(answer.headers.allow, 'GET, HEAD');
    t.match(JSON.parse(answer.body.toString()), { errors: [{ code: 'UNSUPPORTED', detail: method }] });
  }
  t.same(central.log, []);
});

void t.test('what is right after all of it comes through', async (t) => {
  const answer = await get(`${edge.http}/v2/library/app/manifests/latest`);
  t.equal(answer.headers['docker-content-digest'], image.digest);
  t.equal(central.requests('GET', 'manifest', 'latest'), 1);
});

function request(method: string, target: string): Buffer {
  return Buffer.from(`${method} ${target} HTTP/1.1\r\nHost: edge\r\n\r\n`, 'latin1');
}
