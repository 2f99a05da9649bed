import * as fc from 'fast-check';
import t from 'tap';
import { jsonAnswer, matchesTag, NO_BODY } from '../../src/registry/answer.ts';

const ETAG = `"sha256:${'a'.repeat(64)}"`;
const OTHER = `"sha256:${'b'.repeat(64)}"`;

void t.test('If-None-Match: a list, weak or strong, or any', async (t) => {
  for (const header of [
    ETAG,
    ` ${ETAG} `,
    `W/${ETAG}`,
    `${OTHER}, ${ETAG}`,
    `${OTHER},W/${ETAG}`,
    '*',
    ' * ',
  ])
    t.ok(matchesTag(header, ETAG), header);
  const bare = ETAG.slice(1, -1);
  for (const header of [
    undefined,
    '',
    OTHER,
    bare,
    `"${bare}`,
    `w/${ETAG}`,
    `W/W/${ETAG}`,
    `${ETAG}x`,
    '"*"',
    '**',
  ])
    t.notOk(matchesTag(header, ETAG), String(header));
  const tag = fc.constantFrom(ETAG, OTHER, `W/${ETAG}`, `W/${OTHER}`, '', ETAG.toUpperCase());
  fc.assert(
    fc.property(fc.array(tag), fc.constantFrom(',', ' , ', ',\t'), (tags, comma) => {
      return matchesTag(tags.join(comma), ETAG) === (tags.includes(ETAG) || tags.includes(`W/${ETAG}`));
    }),
  );
  t.notOk(matchesTag(`${OTHER},`.repeat(15_000), ETAG), 'a megabyte of it');
});

void t.test('JSON with its length in bytes, to HEAD without the body', async (t) => {
  const content = { name: 'größe', tags: ['1'] };
  const answer = jsonAnswer(content, false);
  t.equal(answer.status, 200);
  t.equal(answer.headers['content-type'], 'application/json');
  if (answer.body.kind !== 'bytes') throw new Error('no body');
  t.strictSame(JSON.parse(Buffer.from(answer.body.content).toString()), content);
  t.equal(answer.headers['content-length'], answer.body.content.byteLength);
  const head = jsonAnswer(content, true);
  t.strictSame(head.headers, answer.headers);
  t.equal(head.body, NO_BODY);
});
