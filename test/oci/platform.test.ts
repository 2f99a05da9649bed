import t from 'tap';
import { covers, joined, parsePlatform, platformOf, platformText } from '../../src/oci/platform.ts';
import { indexChildren } from '../../src/oci/index-children.ts';
import { digestOf } from '../../src/oci/digest.ts';

void t.test('a platform is read and written', async (t) => {
  for (const text of ['linux/amd64', 'linux/arm/v7', 'windows/amd64', 'linux/ppc64le'])
    t.equal(platformText(parsePlatform(text) ?? { os: '', architecture: '' }), text);
  for (const text of [
    '',
    'linux',
    'linux/',
    '/amd64',
    'a/b/c/d',
    'Linux/amd64',
    'linux/amd64 ',
    'linux/\u001b[2J',
    'all',
  ])
    t.equal(parsePlatform(text), undefined, JSON.stringify(text));
});

void t.test('a platform without a variant covers them all, one with it only that', async (t) => {
  for (const [wanted, offered, expected] of [
    ['linux/arm', 'linux/arm/v6', true],
    ['linux/arm/v7', 'linux/arm/v7', true],
    ['linux/arm/v7', 'linux/arm', true],
    ['linux/arm/v6', 'linux/arm', false],
    ['linux/arm/v7', 'linux/arm/v6', false],
    ['linux/arm64/v8', 'linux/arm64', true],
    ['linux/arm64', 'linux/arm64/v8', true],
    ['linux/amd64', 'windows/amd64', false],
    ['linux/amd64', 'linux/arm64', false],
    ['linux/amd64/v3', 'linux/amd64', false],
  ] as const) {
    const [one, other] = [parsePlatform(wanted), parsePlatform(offered)];
    t.equal(one && other && covers(one, other), expected, `${wanted} and ${offered}`);
  }
});

void t.test("Node's names of architectures become the ones of an index", async (t) => {
  for (const [node, go] of [
    ['x64', 'amd64'],
    ['ia32', '386'],
    ['arm64', 'arm64'],
    ['arm', 'arm'],
    ['ppc64', 'ppc64le'],
    ['s390x', 's390x'],
    ['riscv64', 'riscv64'],
  ] as const)
    t.equal(platformText(platformOf(node)), `linux/${go}`);
});

void t.test('choices are joined, each platform once', async (t) => {
  const [one, other] = [
    { os: 'linux', architecture: 'amd64' },
    { os: 'linux', architecture: 'arm64' },
  ];
  t.same(joined([one], [other, { ...one }]), [one, other]);
  t.equal(joined([one], 'all'), 'all');
});

void t.test('the children of an index, with their platforms as far as they can be trusted', async (t) => {
  const digest = digestOf(Buffer.from('child'));
  const platforms = [
    { os: 'linux', architecture: 'arm', variant: 'v7' },
    { os: 'linux', architecture: 'amd64', variant: '' },
    { os: 'linux\n', architecture: 'amd64' },
    { os: 1, architecture: {} },
    'linux/amd64',
    null,
    undefined,
  ];
  const manifests = platforms.map((platform) => ({ digest, platform }));
  const elsewhere = { digest, urls: ['https://elsewhere.example'] };
  const content = Buffer.from(JSON.stringify({ manifests: [...manifests, elsewhere] }));
  t.strictSame(indexChildren(content), [
    { digest, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
    { digest, platform: { os: 'linux', architecture: 'amd64' } },
    ...Array.from({ length: 5 }, () => ({ digest, platform: undefined })),
  ]);
});
