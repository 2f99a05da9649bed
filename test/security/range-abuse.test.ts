import t from 'tap';
import { get } from '../support/clients.ts';
import { createImage } from '../support/images.ts';
import { exchange } from '../server/raw.ts';
import { serveImage } from '../server/fixture.ts';

const SIZE = 300_000;
const { edge, central } = await serveImage([SIZE]);
const other = createImage({ layers: [SIZE], seed: 'other' });
central.addImage('library/app', 'other', other);

const many = (range: string, count: number): string =>
  `bytes=${Array.from({ length: count }, () => range).join(',')}`;
/** More than one range, or one that some server would multiply (CVE-2011-3192). */
const WHOLE = [
  'bytes=0-0,0-0',
  'bytes=0-,0-',
  'bytes=0-99,50-149',
  'bytes=-1,-2,-3',
  many('0-', 1000),
  many('5-0', 500),
  `bytes=${Array.from({ length: 1300 }, (_, at) => `${at}-`).join(',')}`,
  'bytes=0-0,',
  'bytes=,0-0',
  'bytes=,',
  'lines=0-1',
  'bytes =0-1, 2-3',
];

const image = other.layers[0];
const url = `${edge.http}/v2/library/app/blobs/${image?.digest}`;

void t.test(
  'many clients with many ranges of a cold blob: each gets it once, and one transfer is made',
  async (t) => {
    const answers = await Promise.all(
      WHOLE.flatMap((range) => [1, 2, 3].map(() => get(url, { headers: { range } }))),
    );
    for (const { status, bytes, sha256, headers } of answers) {
      t.same([status, bytes, `sha256:${sha256}`], [200, SIZE, image?.digest]);
      t.notMatch(headers['content-type'], /multipart/);
    }
    t.equal(central.requests('GET', 'blob', image?.digest), 1);
    t.equal(central.find({ kind: 'blob', reference: image?.digest ?? '' })[0]?.headers.range, undefined);
  },
);

void t.test('nor when it is here', async (t) => {
  for (const range of WHOLE) {
    const { status, bytes } = await get(url, { headers: { range } });
    t.same([status, bytes], [200, SIZE], range.slice(0, 40));
  }
  const { answers, rest } = await exchange(
    edge.http,
    `HEAD ${new URL(url).pathname} HTTP/1.1\r\nHost: e\r\nRange: ${many('0-', 1000)}\r\n\r\n`,
    { answers: 1, head: true },
  );
  t.same([answers[0]?.status, rest], [200, '']);
});

void t.test('one range is never more than the blob, whatever its numbers', async (t) => {
  for (const [range, status, bytes] of [
    ['bytes=0-999999999999999', 206, SIZE],
    ['bytes=-999999999999999', 206, SIZE],
    [`bytes=${SIZE - 1}-${SIZE}`, 206, 1],
    ['bytes=999999999999999-', 416, undefined],
    ['bytes=0-9999999999999999', 400, undefined],
    ['bytes=18446744073709551615-', 400, undefined],
    ['bytes=-0', 416, undefined],
    ['bytes=1-0', 400, undefined],
  ] as const) {
    const answer = await get(url, { headers: { range } });
    t.equal(answer.status, status, range);
    if (bytes !== undefined) t.equal(answer.bytes, bytes, range);
  }
});
