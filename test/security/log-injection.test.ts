import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { exchange } from '../server/raw.ts';
import { reply, serve } from '../upstream/scripted-server.ts';
import { holdsControls } from './controls.ts';

/** What ends a line, moves a cursor or turns the writing direction, in some program that shows a log (CWE-117). */
const EVIL = [
  '\r\n{"level":"fatal"}',
  '\n',
  '\r',
  '\u001b[2J',
  '\u001b]0;x\u0007',
  '\u0000',
  '\u007f',
  '\u0085',
  '\u2028',
  '\u2029',
  '\u202e',
  '"}',
  '\\',
  '%0d%0a',
  '\t',
];

let evil = '';
const upstream = await serve(t, (request, response) => {
  const said = JSON.stringify({
    errors: [{ code: `X${evil}`, message: evil, detail: evil }],
    mediaType: evil,
    tags: [evil],
    name: evil,
  });
  const fit = evil.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, '?');
  request.resume();
  const headers = {
    'content-type': `a/${fit}`,
    'docker-content-digest': fit,
    'www-authenticate': `Bearer realm="${fit}"`,
    location: fit,
    link: fit,
  };
  reply(response, request.url?.includes('/blobs/') === true ? 302 : 200, headers, said);
});
const edge = await startEdge({
  config: {
    log: { level: 'trace' },
    audit: { to: 'audit.log' },
    upstreams: [{ name: 'central', url: upstream.url, push: true, default: true, catalog: true }],
  },
});
t.teardown(() => edge.remove());

void t.test('whatever clients and upstreams say, a line is one line of plain JSON', async (t) => {
  let sent = 0;
  const send = async (target: string, headers = '', method = 'GET'): Promise<void> => {
    const bytes = Buffer.from(
      `${method} ${target} HTTP/1.1\r\nHost: e\r\nConnection: close\r\n${headers}\r\n`,
      'utf8',
    );
    await exchange(edge.http, bytes);
    sent += 1;
  };
  for (evil of EVIL) {
    for (const target of [
      `/v2/app${evil}/manifests/v1`,
      `/v2/app/manifests/v1${evil}`,
      `/v2/app/blobs/${evil}`,
      `/v2/app/tags/list?last=${evil}`,
      `/v2/app/manifests/v1?ns=${evil}`,
      `/v2/app/blobs/uploads/${evil}`,
      `/${evil}`,
    ])
      await send(target);
    for (const header of [
      'User-Agent',
      'Authorization',
      'X-Forwarded-For',
      'Forwarded',
      'X-Request-Id',
      'Range',
      'Referer',
      'Host',
    ])
      await send('/v2/app/tags/list', `${header}: ${evil}\r\n`);
    await send('/v2/', '', `GET${evil}`);
    for (const target of [
      'manifests/v2',
      'tags/list',
      `referrers/sha256:${'a'.repeat(64)}`,
      `blobs/sha256:${'b'.repeat(64)}`,
    ])
      await get(`${edge.http}/v2/app/${target}`);
    await get(`${edge.http}/v2/app/manifests/v3`, { method: 'PUT', body: evil });
  }
  t.ok(sent > 200);
  await get(`${edge.http}/v2/last/tags/list`);
  await eventually(() => edge.output.includes('"repository":"last"'));
  await edge.stop();
  const lines = edge.output.split('\n').filter((line) => line.startsWith('{'));
  t.ok(lines.length > 100);
  for (const line of lines) {
    const entry = JSON.parse(line) as { level?: unknown };
    t.not(entry.level, 'fatal');
    if (holdsControls(line)) t.fail(JSON.stringify(line));
  }
  t.notOk(holdsControls(edge.output), 'nor does anything else of the output hold a control character');
  const audit = await readFile(join(edge.dir, 'audit.log'), 'utf8');
  t.notOk(holdsControls(audit));
  for (const line of audit.trimEnd().split('\n')) JSON.parse(line);
});
