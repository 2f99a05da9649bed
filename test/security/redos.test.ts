import t from 'tap';
import { canonicalAddress } from '../../src/access/ip-rules.ts';
import { ms } from '../../src/lib/brand.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseImageText } from '../../src/oci/image-reference.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import { bareMediaType } from '../../src/oci/media-type.ts';
import { parseNameList } from '../../src/oci/name-list.ts';
import { FIRST_PAGE, nextPage, parsePage } from '../../src/oci/page.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { parseContentRange, parseRange } from '../../src/oci/range.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { parseReferrers } from '../../src/oci/referrers.ts';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';
import { matchesTag } from '../../src/registry/answer.ts';
import { parseTarget } from '../../src/registry/route.ts';
import { selectUpstream } from '../../src/registry/select-upstream.ts';
import { literalAddress } from '../../src/upstream/address-policy.ts';
import { parseChallenges } from '../../src/upstream/challenge.ts';
import { parseQuota, parseRetryAfter } from '../../src/upstream/throttle.ts';

/**
 * Half a million characters: what is linear takes milliseconds, what is quadratic never ends, and the runner's time is up. So no clock
 * decides here.
 */
const LENGTH = 500_000;
const DIGEST = `sha256:${'a'.repeat(64)}`;
const subject = there(parseDigest(DIGEST));
const name = there(parseRepositoryName('a'));
const upstreams = [
  { name: 'central', hosts: ['central.example'], default: true, officialNamespace: undefined },
];

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('is not parsed');
  return value;
}

const PARSERS: Readonly<Record<string, (text: string) => unknown>> = {
  target: parseTarget,
  'path in front': (text) => parseTarget(`/v2/${text}`),
  'path in the middle': (text) => parseTarget(`/v2/${text}/manifests/v1`),
  query: (text) => parseTarget(`/v2/a/tags/list?${text}`),
  digest: parseDigest,
  'repository name': parseRepositoryName,
  reference: parseReference,
  image: parseImageText,
  platform: parsePlatform,
  range: (text) => parseRange(`bytes=${text}`),
  'unit of a range': parseRange,
  'content range': (text) => parseContentRange(`bytes ${text}`),
  'entity tags': (text) => matchesTag(text, `"${DIGEST}"`),
  challenge: parseChallenges,
  'parameters of a challenge': (text) => parseChallenges(`Bearer realm="${text}`),
  link: (text) => nextPage(text, FIRST_PAGE),
  'target of a link': (text) => nextPage(`<${text}>; rel="next"`, FIRST_PAGE),
  'parameters of a link': (text) => nextPage(`</x?n=1&last=a>; ${text}`, FIRST_PAGE),
  page: (text) => parsePage(new URLSearchParams(text)),
  'media type': bareMediaType,
  manifest: (text) => parseManifest(Buffer.from(text), 'application/vnd.oci.image.manifest.v1+json'),
  'names of a manifest': (text) =>
    parseManifest(Buffer.from(JSON.stringify({ [text]: 1, mediaType: text })), text),
  tags: (text) => parseNameList(Buffer.from(JSON.stringify({ tags: [text] })), 'tags', () => true),
  referrers: (text) =>
    parseReferrers(Buffer.from(JSON.stringify({ manifests: [{ digest: text }] })), subject),
  'retry-after': (text) => parseRetryAfter(text, ms(0)),
  quota: (text) => parseQuota(text, text),
  address: canonicalAddress,
  'address in a URL': literalAddress,
  'which upstream': (text) => selectUpstream(upstreams, { name, namespace: undefined, host: text }),
};

/** What makes patterns go back and try again: repeats of each class, of pairs, and an end that fits none of them. */
const PIECES = [
  'a',
  '0',
  ' ',
  '\t',
  '/',
  '.',
  '-',
  '_',
  ':',
  ',',
  '"',
  '\\',
  '=',
  ';',
  '<',
  '%',
  '&',
  '#',
  '[',
  '{',
  '+',
  'ſ',
  'a/',
  'a-',
  'a.',
  '0,',
  ' ,',
  'a=',
  '""',
  '\\"',
  ', a',
  '%3a',
  '">',
  '::',
  '1-',
  'a,"',
];
const ENDS = ['', '!', '\0'];

for (const [what, parse] of Object.entries(PARSERS)) {
  void t.test(`${what}: however long, it is read once`, (t) => {
    for (const piece of PIECES) {
      for (const end of ENDS) {
        const text = piece.repeat(Math.ceil(LENGTH / piece.length)) + end;
        try {
          parse(text);
        } catch (error) {
          // A refusal: what it says is short.
          if ((error as Error).message.length > 2000)
            t.fail(`${JSON.stringify(piece)}: ${(error as Error).message.length}`);
        }
      }
    }
    t.pass('it came to an end');
    t.end();
  });
}
