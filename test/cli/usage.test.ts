import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { tempFolder } from '../support/temp.ts';
import { pierhead } from './pierhead.ts';

const cwd = tempFolder(t, 'cli');

void t.test('help: what there is, and what each takes', async (t) => {
  for (const [args, ...named] of [
    [['--help'], 'serve', 'check', 'cache', 'certs'],
    [['help'], 'serve', 'check', 'cache', 'certs'],
    [['serve', '--help'], '--config', '--data', '--upstream', '--http', '--https', '--admin', '--workers'],
    [['check', '--help'], '--config', '--upstream'],
    [['access', '--help'], '--config', '--user', '--group', '--from', 'pull', 'push', 'delete'],
    [['client-config', '--help'], 'docker', '--host', '--plain', '--ca', '--write', '--force', '--json'],
    [['warm', '--help'], '--platform', '--data', 'images'],
    [['cache', '--help'], 'ls', 'stats', 'purge', 'pin', 'unpin', 'pins'],
    [['cache', 'ls', '--help'], '--json', '--data'],
    [['cache', 'stats', '--help'], '--json', '--data'],
    [['cache', 'purge', '--help'], '--all', '--force', '--data', 'REPOSITORY:TAG'],
    [['cache', 'pin', '--help'], '--platform', '--data'],
    [['certs', '--help'], 'init', 'show'],
    [['certs', 'init', '--help'], '--config'],
    [['certs', 'show', '--help'], '--config'],
  ] as const) {
    const { code, stdout, stderr } = await pierhead(args, cwd);
    t.same({ code, stderr }, { code: 0, stderr: '' }, args.join(' '));
    t.match(stdout, /^Usage: pierhead /, args.join(' '));
    for (const name of named) t.match(stdout, name, args.join(' '));
  }
});

void t.test('the version is that of the package', async (t) => {
  const manifest: unknown = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'));
  const { code, stdout } = await pierhead(['--version'], cwd);
  t.equal(code, 0);
  t.match(manifest, { version: stdout.trim() });
});

void t.test('what is not understood: exit 2, and where to look', async (t) => {
  for (const [args, hint] of [
    [[], /^Usage: pierhead/],
    [['srve'], /unknown command 'srve'\n\(Did you mean serve\?\)\n\(--help/],
    [['serve', '--htp', '1'], /unknown option '--htp'\n\(Did you mean --http\?\)\n\(--help/],
    [['serve', 'more'], /too many arguments[^]*--help/],
    [['serve', '--config'], /argument missing[^]*--help/],
    [['cache'], /^Usage: pierhead cache/],
    [['cache', 'prge'], /Did you mean purge\?/],
    [['cache', 'purge'], /cache purge takes images, or --all: pierhead cache purge library\/alpine:3\.20/],
    [['cache', 'purge', '--all', 'app'], /images, or --all/],
    [['cache', 'purge', 'Library/App'], /"Library\/App" is not an image: REPOSITORY or REPOSITORY:TAG/],
    [['cache', 'purge', 'app:-x'], /"app:-x" is not an image/],
    [['cache', 'ls'], /there is no cache in .*data: name it with --data or --config/],
    [['certs', 'make'], /unknown command 'make'/],
  ] as const) {
    const { code, stdout, stderr } = await pierhead(args, cwd);
    t.same({ code, stdout }, { code: 2, stdout: '' }, args.join(' '));
    t.match(stderr, hint, args.join(' '));
    t.notMatch(stderr, /^ +at /m, 'no stack');
  }
});

void t.test(
  'a configuration that cannot be used: exit 2, the key, what it got and what it takes',
  async (t) => {
    const file = join(cwd, 'pierhead.yaml');
    for (const [text, ...named] of [
      ['freshness: { tag: 60 parsecs }', 'freshness.tag', '"60 parsecs"', 'takes a duration', '60s'],
      ['freshnes: { tag: 60s }', 'freshnes', 'did you mean freshness?'],
      ['storage: { maxSize: 5 }', 'storage.maxSize', '5', 'takes a size', 'at least 1MiB'],
      ['listen: { http: "nowhere" }', 'listen.http', '"nowhere"', 'HOST:PORT', 'null to turn it off'],
      ['listen: { http: null, https: null }', 'listen', 'both off', 'at least one'],
      ['workers: 1000', 'workers', '1000', 'from 1 to 64'],
      ['access: { allow: [10.0.0.0/99] }', 'access.allow[0]', '"10.0.0.0/99"', 'takes'],
      ['upstreams: [{ name: a, url: "ftp://x" }]', 'upstreams[0].url', 'ftp://x', 'takes'],
      [
        'warm: [{ schedule: soon, images: [a] }]',
        'warm[0].schedule',
        '"soon"',
        'minute hour day month weekday',
      ],
      ['limits: { requestsPerSecond: 0 }', 'limits.requestsPerSecond', 'from 1 to'],
      ['listen: {', `${file}: line`, 'closed'],
    ] as const) {
      writeFileSync(file, text, { mode: 0o600 });
      const { code, stdout, stderr } = await pierhead(['serve', '--config', file], cwd);
      t.same({ code, stdout }, { code: 2, stdout: '' }, text);
      for (const name of named) t.ok(stderr.includes(name), `${text}: names ${name} in ${stderr}`);
      t.notMatch(stderr, /^ +at /m, 'no stack');
    }
    const checked = await pierhead(['check', '--config', file], cwd);
    t.equal(checked.code, 2);
    const missing = await pierhead(['serve', '--config', 'missing.yaml'], cwd);
    t.equal(missing.code, 2);
    t.match(missing.stderr, /--config: .*missing\.yaml does not exist/);
    const flag = await pierhead(['serve', '--http', '1.2.3.4.5:x'], cwd);
    t.equal(flag.code, 2);
    t.match(flag.stderr, /--http: got "1\.2\.3\.4\.5:x"; takes HOST:PORT.*, or off/);
  },
);
