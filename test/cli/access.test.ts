import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Action } from '../../src/access/authorize.ts';
import { explainAccess } from '../../src/cli/access.ts';
import { UsageError } from '../../src/cli/usage-error.ts';
import { loadConfig } from '../../src/config/load.ts';
import { tempFolder } from '../support/temp.ts';
import { pierhead } from './pierhead.ts';

const cwd = tempFolder(t, 'access');
const ROLES = [
  { role: 'reader', users: ['ada'], networks: ['10.0.0.0/8'], repositories: ['library/*'] },
  { role: 'publisher', groups: ['ops'] },
  { role: 'reader', networks: ['192.168.7.0/24'], upstream: 'corp', repositories: ['open/**'] },
];
const UPSTREAMS = [
  { name: 'docker.io', url: 'https://registry-1.docker.io', default: true, push: true },
  { name: 'corp', url: 'http://127.0.0.1:1' },
];
writeFileSync(join(cwd, 'users'), `ada:$2y$05$${'a'.repeat(53)}\n`);
function config(name: string, content: object): void {
  writeFileSync(join(cwd, name), JSON.stringify({ upstreams: UPSTREAMS, ...content }), { mode: 0o600 });
}
const edge = { htpasswd: 'users' };
config('edge.yaml', {
  roles: ROLES,
  auth: { mode: 'edge', allowPlain: true, edge },
  access: { deny: ['10.6.6.0/24'], forbiddenNames: ['secret'] },
});
config('open.yaml', {});
config('upstream.yaml', { auth: { mode: 'upstream', allowPlain: true } });

interface Who {
  readonly user?: string;
  readonly group?: readonly string[];
  readonly from?: string;
}

function explained(file: string, image: string, action: Action, who: Who = {}): string {
  const config = loadConfig({ file, flags: {}, env: {}, cwd, cpus: 1 });
  const { may, text } = explainAccess(config, image, action, { group: [], from: '127.0.0.1', ...who });
  return `${may ? 'yes' : 'no'}: ${text}`;
}

const ADA: Who = { user: 'ada', from: '10.1.2.3' };
const OPS: Who = { user: 'bob', group: ['dev', 'ops'], from: '10.1.2.3' };

void t.test('each decision, and what decides it', async (t) => {
  const cases: [image: string, action: Action, who: Who, said: string][] = [
    [
      'alpine',
      'pull',
      ADA,
      'yes: ada from 10.1.2.3 may pull docker.io/library/alpine: role reader, roles[0]',
    ],
    [
      'alpine',
      'push',
      ADA,
      'no: ada from 10.1.2.3 may not push docker.io/library/alpine: no role allows it (403)',
    ],
    [
      'team/app',
      'pull',
      ADA,
      'no: ada from 10.1.2.3 may not pull docker.io/team/app: no role allows it (404, as if it were not there)',
    ],
    [
      'alpine',
      'pull',
      { user: 'ada', from: '192.168.1.1' },
      'no: ada from 192.168.1.1 may not pull docker.io/library/alpine: no role',
    ],
    [
      'team/app:1.0',
      'delete',
      OPS,
      'yes: bob from 10.1.2.3 may delete docker.io/team/app: role publisher, roles[1]',
    ],
    [
      'team/secrets',
      'pull',
      OPS,
      'no: bob from 10.1.2.3 may not pull docker.io/team/secrets: forbidden name (404',
    ],
    ['corp/a', 'push', OPS, 'no: bob from 10.1.2.3 may not push corp/a: pushes to corp are off'],
    [
      'alpine',
      'pull',
      { from: '10.1.2.3' },
      'no: somebody unknown from 10.1.2.3 may not pull docker.io/library/alpine: nobody without a name may; they are asked for one (401)',
    ],
    [
      'corp/open/x',
      'pull',
      { from: '192.168.7.9' },
      'yes: somebody unknown from 192.168.7.9 may pull corp/open/x: role reader, roles[2]',
    ],
    [
      'corp/open/x',
      'pull',
      { from: '::ffff:192.168.7.9' },
      'yes: somebody unknown from 192.168.7.9 may pull',
    ],
    [
      'alpine',
      'pull',
      { user: 'ada', from: '10.6.6.6' },
      'no: ada from 10.6.6.6 may not pull docker.io/library/alpine: no listener lets that address in',
    ],
    [
      'alpine',
      'pull',
      { user: 'ada', from: '8.8.8.8' },
      'no: ada from 8.8.8.8 may not pull docker.io/library/alpine: no listener lets that address in',
    ],
  ];
  for (const [image, action, who, said] of cases) {
    const text = explained('edge.yaml', image, action, who);
    t.ok(text.startsWith(said), text);
  }
});

void t.test('without roles; with an upstream that decides', async (t) => {
  t.match(explained('open.yaml', 'alpine', 'pull'), /^yes: somebody unknown .*: no roles are configured/);
  t.match(explained('upstream.yaml', 'alpine', 'pull'), /if docker\.io says so too$/);
});

function refusalOf(ask: () => unknown): string {
  try {
    return `answered: ${String(ask())}`;
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

void t.test('what cannot be asked', async (t) => {
  for (const [file, image, who, said] of [
    ['edge.yaml', 'alpine', { from: 'here' }, '--from: got "here"; takes an IP address'],
    ['open.yaml', 'alpine', { user: 'ada' }, '--user: this edge knows nobody by name (auth.mode is none)'],
    ['edge.yaml', 'alpine', { group: ['ops'] }, '--group: takes --user beside it'],
    ['edge.yaml', 'Alpine\u001b', {}, 'got "Alpine\\u001b": takes an image'],
    ['edge.yaml', 'ghcr.io/a/b', {}, 'there is no upstream ghcr.io; this edge has docker.io, corp'],
  ] as const)
    t.ok(refusalOf(() => explained(file, image, 'pull', who)).includes(said), said);
});

void t.test('the command: exit 0, 1 or 2', async (t) => {
  const ada = ['--user', 'ada', '--from', '10.1.2.3', '--group', 'one', 'two', '-c', 'edge.yaml'];
  t.match(await pierhead(['access', 'alpine', ...ada], cwd), { code: 0, stdout: /^ada from .* may pull/ });
  t.match(await pierhead(['access', 'alpine', 'push', ...ada], cwd), {
    code: 1,
    stdout: /may not push/,
    stderr: '',
  });
  t.match(await pierhead(['access', 'alpine', 'list', ...ada], cwd), {
    code: 2,
    stderr: /pull, push, delete/,
  });
});
