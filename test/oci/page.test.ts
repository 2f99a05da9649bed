import * as fc from 'fast-check';
import t from 'tap';
import {
  FIRST_PAGE,
  ListError,
  MAX_PAGE_ENTRIES,
  nextPage,
  pageQuery,
  parsePage,
  upstreamQuery,
  type Page,
} from '../../src/oci/page.ts';

const page = (part: Partial<Page>): Page => ({ ...FIRST_PAGE, ...part });
const next = (target: string, asked = FIRST_PAGE): Page | undefined =>
  nextPage(`<${target}>; rel="next"`, asked);

void t.test('the next page is the query of the link, wherever the link leads', async (t) => {
  for (const target of [
    '/v2/team/app/tags/list?last=v5&n=5',
    'https://registry.corp/v2/team/app/tags/list?n=5&last=v5',
    'http://169.254.169.254/latest/meta-data?n=5&last=v5',
    '//elsewhere.corp/x?n=5&last=v5#part',
    'ftp://a:b@c/d?n=5&last=v5',
    'javascript:alert(1)?n=5&last=v5',
    '?n=5&last=v5',
    '/v2/other/secret/tags/list?n=5&last=v5&ns=other.corp',
  ])
    t.strictSame(next(target), page({ n: 5, last: 'v5' }), target);
});

void t.test('what the client asked for is what it goes on with', async (t) => {
  const asked = page({ n: 7, last: 'a' });
  t.strictSame(next('/x?n=100&last=b', asked), page({ n: 7, last: 'b' }));
  t.strictSame(next('/x?n=0&last=b'), page({ last: 'b' }), "GitHub's n=0");
  t.strictSame(next('/x?n=999999999&last=b'), page({ n: MAX_PAGE_ENTRIES, last: 'b' }));
  t.strictSame(next('/x?n=-1&last=b'), page({ last: 'b' }));
});

void t.test('a next page that takes more than n and last is kept as the upstream wrote it', async (t) => {
  const quay = next('/v2/a/tags/list?n=50&next_page=gAAA%3D%3D', page({ n: 50 }));
  t.strictSame(quay, page({ n: 50, cursor: 'n=50&next_page=gAAA%3D%3D' }));
  if (quay === undefined) return;
  t.equal(upstreamQuery(quay).toString(), 'n=50&next_page=gAAA%3D%3D', 'it stands for the rest');
  t.strictSame(parsePage(pageQuery(quay)), quay, 'and comes back through our own link');
  const filtered = nextPage('</r?artifactType=a%2Fb&token=x>; rel=next', FIRST_PAGE, ['artifactType']);
  t.strictSame(filtered, page({ cursor: 'token=x' }));
});

void t.test('one link among several, in every way that RFC 8288 lets it be written', async (t) => {
  const found = page({ last: 'v' });
  for (const link of [
    '</p>; rel="prev", </n?last=v>; rel="next"',
    '</n?last=v>;rel=next',
    '</n?last=v> ; title="a, <b>; rel=\\"x\\"" ; REL="start NEXT"',
    '  ,, </n?last=v>; rel="next", </n?last=w>; rel="next"',
  ])
    t.strictSame(nextPage(link, FIRST_PAGE), found, link);
  for (const link of ['', ' , ', '</p?last=v>; rel="prev"', '</p?last=v>', '</p?last=v>; title="rel=next"'])
    t.equal(nextPage(link, FIRST_PAGE), undefined, link);
  t.equal(nextPage(undefined, FIRST_PAGE), undefined);
});

void t.test('a list never ends in silence where the upstream says that it goes on', async (t) => {
  const refused = (link: string, asked = FIRST_PAGE): void => {
    t.throws(() => nextPage(link, asked), ListError, link.slice(0, 80));
  };
  for (const query of [
    '',
    '?',
    '?a=1&a=2',
    '?last=a\tb',
    '?l\u00e4st=a',
    '?a b=1',
    `?last=${'a'.repeat(1100)}`,
  ])
    refused(`</x${query}>; rel="next"`);
  refused('</x?last=%0d%0aSet-Cookie:%20a>; rel="next"');
  refused('/x?last=a; rel="next"');
  refused('</x?last=a');
  refused('<a>,'.repeat(2000));
  refused('</x?n=5&last=a>; rel="next"', page({ n: 5, last: 'a' }));
  refused('</x?n=5>; rel="next"', page({ n: 5 }));
  refused('</x?token=a>; rel="next"', page({ cursor: 'token=a' }));
});

void t.test('any header: a page that can be asked for, none, or an error; never anything else', async (t) => {
  const piece = fc.constantFrom(
    '<',
    '>',
    ';',
    ',',
    '"',
    '\\',
    ' ',
    'rel=',
    'next',
    '?',
    'last=',
    'n=5',
    '&',
    'a',
  );
  const header = fc.oneof(
    fc.array(piece, { maxLength: 24 }).map((pieces) => pieces.join('')),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'binary' }).map((text) => `<${text}>; rel="next"`),
    fc.webUrl({ withQueryParameters: true, withFragments: true }).map((url) => `<${url}>; rel=next`),
  );
  let pages = 0;
  fc.assert(
    fc.property(header, (link) => {
      try {
        const found = nextPage(link, FIRST_PAGE);
        if (found === undefined) return true;
        pages += 1;
        const again = parsePage(new URLSearchParams(pageQuery(found).toString()));
        return (
          JSON.stringify(again) === JSON.stringify(found) &&
          /^[\w.~%=&+*-]+$/.test(upstreamQuery(found).toString())
        );
      } catch (error) {
        return error instanceof ListError;
      }
    }),
    { numRuns: 2000 },
  );
  t.ok(pages > 20, `${pages} were pages`);
});

void t.test('any query of a client: a page, or words that fit a log line', async () => {
  const value = fc.oneof(fc.string({ unit: 'binary' }), fc.nat().map(String), fc.constant('a=1&b=2'));
  const query = fc.dictionary(fc.constantFrom('n', 'last', 'cursor', 'x'), value);
  fc.assert(
    fc.property(query, (parameters) => {
      const parsed = parsePage(new URLSearchParams(parameters));
      if (typeof parsed === 'string') return parsed.length < 200 && /^[^\p{Cc}]+$/u.test(parsed);
      const { n = 0, last = 'a', cursor = '' } = parsed;
      return n >= 0 && n <= MAX_PAGE_ENTRIES && /^[\x21-\x7e]+$/.test(last) && /^[\x21-\x7e]*$/.test(cursor);
    }),
    { numRuns: 2000 },
  );
});
