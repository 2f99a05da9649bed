import { Readable } from 'node:stream';
import * as fc from 'fast-check';
import t from 'tap';
import { decodeTag } from '../../src/cache/manifests/freshness.ts';
import { decodeManifest, encodeManifest } from '../../src/cache/manifests/manifest-store.ts';
import { ms } from '../../src/lib/brand.ts';
import { plainLine } from '../../src/lib/plain-line.ts';
import { digestOf, parseDigest } from '../../src/oci/digest.ts';
import { RegistryError } from '../../src/oci/error-codes.ts';
import { indexChildren } from '../../src/oci/index-children.ts';
import { ManifestError, parseManifest } from '../../src/oci/manifest.ts';
import { parsePlatform, platformText } from '../../src/oci/platform.ts';
import { parseContentRange } from '../../src/oci/range.ts';
import { acceptedAnswer, checkStatus, refusedAnswer } from '../../src/registry/push/upstream-reply.ts';
import { SealedRecords } from '../../src/store/redis/sealed-records.ts';
import { classifyAddress } from '../../src/upstream/address-policy.ts';
import { redirectTarget, realmTarget, type TargetRules } from '../../src/upstream/targets.ts';
import { parseQuota, parseRetryAfter } from '../../src/upstream/throttle.ts';
import { UpstreamError } from '../../src/upstream/upstream.ts';
import { holdsControls } from './controls.ts';

// The parsers that a stranger's bytes reach and whose properties are not beside their own tests.

const INDEX = 'application/vnd.oci.image.index.v1+json';
const anyText = fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), fc.string({ maxLength: 80 }));

void t.test('a pause that an upstream asks for is from a second to an hour', async () => {
  const numbers = fc.oneof(fc.integer(), fc.bigInt()).map(String);
  const dates = fc.date({ noInvalidDate: true }).map((date) => date.toUTCString());
  fc.assert(
    fc.property(fc.oneof(anyText, numbers, dates), fc.integer({ min: 0, max: 4e12 }), (header, now) => {
      const pause = parseRetryAfter(header, ms(now));
      return pause >= 1000 && pause <= 3_600_000;
    }),
  );
});

void t.test('a quota is two whole numbers or none', async () => {
  const written = fc.tuple(fc.nat(), fc.nat()).map(([count, window]) => `${count};w=${window}`);
  const header = fc.oneof(anyText, written, fc.constant(undefined));
  fc.assert(
    fc.property(header, header, (limit, remaining) => {
      const quota = parseQuota(limit, remaining);
      return (
        quota === undefined ||
        [quota.limit, quota.remaining].every((count) => Number.isSafeInteger(count) && count >= 0)
      );
    }),
  );
});

void t.test('a part that an upstream sends begins at a whole number', async () => {
  const written = fc
    .tuple(fc.bigInt(), fc.bigInt(), fc.oneof(fc.bigInt().map(String), fc.constant('*')))
    .map(([a, b, c]) => `bytes ${a}-${b}/${c}`);
  fc.assert(
    fc.property(fc.oneof(anyText, written), (header) => {
      const range = parseContentRange(header);
      return (
        range === undefined ||
        (Number.isSafeInteger(range.first) &&
          range.first >= 0 &&
          (range.total === undefined || Number.isSafeInteger(range.total)))
      );
    }),
  );
});

void t.test(
  'the children of an index that was admitted: digests, and platforms that a terminal may show',
  async () => {
    const platform = fc.oneof(
      fc.jsonValue(),
      fc.record({ os: anyText, architecture: anyText, variant: anyText }),
    );
    const digest = fc.oneof(
      anyText,
      fc.uint8Array().map((bytes) => digestOf(bytes)),
    );
    const child = fc.oneof(fc.jsonValue(), fc.record({ digest, platform }, { requiredKeys: ['digest'] }));
    fc.assert(
      fc.property(fc.array(child), (manifests) => {
        const content = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
        try {
          parseManifest(content, INDEX);
        } catch (error) {
          return error instanceof ManifestError;
        }
        return indexChildren(content).every(
          (found) =>
            parseDigest(found.digest) === found.digest &&
            (found.platform === undefined || /^[a-z0-9._/-]+$/.test(platformText(found.platform))),
        );
      }),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        const parsed = parsePlatform(text);
        return parsed === undefined || platformText(parsed) === text;
      }),
    );
  },
);

void t.test('records on disk and in Redis: what was written, or none', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const tag = decodeTag(bytes);
      const name = digestOf(Buffer.from('x'));
      return (
        (tag === undefined || parseDigest(tag.digest) === tag.digest) &&
        decodeManifest(name, bytes) === undefined
      );
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array(), fc.nat(), fc.integer({ min: 1, max: 255 }), (content, at, by) => {
      const entry = { digest: digestOf(content), mediaType: INDEX, content };
      const encoded = encodeManifest(entry);
      const bent = Uint8Array.from(encoded);
      const place = INDEX.length + 1 + (at % Math.max(1, content.byteLength));
      if (place < bent.byteLength) bent[place] = (bent[place] ?? 0) ^ by;
      const back = decodeManifest(entry.digest, encoded);
      return (
        back !== undefined &&
        Buffer.compare(back.content, content) === 0 &&
        (place >= bent.byteLength || decodeManifest(entry.digest, bent) === undefined)
      );
    }),
  );
  const records = new SealedRecords(Buffer.alloc(32, 1));
  const name = records.nameOf('links', 'key');
  const sealed = records.seal(name, { key: 'key', value: Buffer.from('value'), expiresAt: undefined });
  t.equal(Buffer.from(records.open(name, sealed)?.value ?? []).toString(), 'value');
  fc.assert(
    fc.property(
      fc.nat({ max: sealed.byteLength - 1 }),
      fc.integer({ min: 1, max: 255 }),
      fc.nat({ max: 40 }),
      (at, by, cut) => {
        const bent = Buffer.from(sealed);
        bent.writeUInt8(bent.readUInt8(at) ^ by, at);
        return (
          records.open(name, bent) === undefined &&
          records.open(name, sealed.subarray(0, sealed.byteLength - 1 - cut)) === undefined
        );
      },
    ),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => records.open(name, bytes) === undefined),
  );
});

void t.test(
  'where a redirect or a realm may lead: a web address that the policy lets in, or an error of one line',
  async () => {
    const rules: TargetRules = {
      home: new URL('https://registry.example'),
      homeClass: () => 'public',
      classify: classifyAddress,
      authHosts: new Set(['auth.example']),
      redirectHosts: new Set(),
    };
    const host = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV4Extended(),
      fc.ipV6().map((ip) => `[${ip}]`),
      fc.constantFrom(
        'registry.example',
        'auth.example',
        'auth.example.',
        'auth.example@x.example',
        'localhost',
        '[::ffff:7f00:1]',
      ),
    );
    const url = fc
      .tuple(fc.constantFrom('https', 'http', 'ftp', 'file', 'javascript', 'HTTPS'), host, anyText)
      .map(([scheme, name, path]) => `${scheme}://${name}/${path}`);
    const target = fc.oneof(anyText, url, fc.webUrl(), fc.webPath());
    const judged = (find: () => URL, admits: (found: URL) => boolean): boolean => {
      try {
        return admits(find());
      } catch (error) {
        return error instanceof UpstreamError && error.kind === 'protocol' && !holdsControls(error.message);
      }
    };
    fc.assert(
      fc.property(target, (text) => {
        const redirected = judged(
          () => redirectTarget(text, new URL('https://registry.example/v2/'), rules),
          (found) => found.protocol === 'https:',
        );
        return (
          redirected &&
          judged(
            () => realmTarget(text, rules),
            (found) =>
              found.protocol === 'https:' && ['registry.example', 'auth.example'].includes(found.hostname),
          )
        );
      }),
      { numRuns: 500 },
    );
  },
);

void t.test(
  'whatever an upstream answers to a push: an answer of ours, without headers of its own',
  async () => {
    const passed =
      /^(docker-content-digest|docker-upload-uuid|oci-(chunk-(min|max)-length|filters-applied|subject)|range|retry-after|www-authenticate|location|content-(type|length))$/;
    const names = fc.constantFrom(
      'set-cookie',
      'location',
      'link',
      'range',
      'www-authenticate',
      'retry-after',
      'oci-subject',
      'content-encoding',
      '__proto__',
      'transfer-encoding',
    );
    const value = fc.oneof(anyText, fc.array(anyText, { maxLength: 2 }));
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 100, max: 999 }),
        fc.dictionary(names, value),
        fc.uint8Array({ maxLength: 300 }),
        fc.boolean(),
        async (status, headers, body, head) => {
          const reply = { status, headers, body: Readable.from([Buffer.from(body)]) };
          try {
            checkStatus(reply);
          } catch (error) {
            return error instanceof RegistryError;
          }
          const answer =
            status >= 400
              ? await refusedAnswer(reply, head, undefined)
              : await acceptedAnswer(reply, undefined);
          const fit = Object.entries(answer.headers).every(
            ([name, said]) => passed.test(name) && /^[\t\x20-\x7e]+$/.test(String(said)),
          );
          if (answer.body.kind === 'bytes') JSON.parse(Buffer.from(answer.body.content).toString());
          return fit && answer.status === status;
        },
      ),
    );
  },
);

void t.test('a line of JSON is the same JSON without what a terminal would act on', async () => {
  const codes = fc.oneof(fc.integer({ min: 0, max: 0xff }), fc.integer({ min: 0x2000, max: 0x2070 }));
  const controls = fc.array(codes).map((found) => String.fromCharCode(...found));
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue({ stringUnit: 'binary' }), controls), (value) => {
      const json = JSON.stringify(value);
      const plain = plainLine(json);
      return JSON.stringify(JSON.parse(plain)) === json && !holdsControls(plain);
    }),
  );
});
