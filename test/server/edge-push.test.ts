import { writeFile } from 'node:fs/promises';
import t from 'tap';
import { get } from '../support/clients.ts';
import { basic, bearer, htpasswd, tokenIn } from '../support/edge-auth.ts';
import { startEdge } from '../support/edge.ts';
import { TempFolder } from '../support/temp.ts';
import { reply, serve } from '../upstream/scripted-server.ts';

void t.test('what clients show the edge is not shown to the upstream of a push', async (t) => {
  const folder = new TempFolder('edge');
  t.teardown(() => folder.remove());
  await writeFile(folder.join('users'), await htpasswd({ ada: 'right' }), { mode: 0o600 });
  let refuses = false;
  const upstream = await serve(t, (request, response) => {
    request.resume().once('end', () => {
      if (refuses) reply(response, 401, { 'www-authenticate': 'Bearer realm="https://elsewhere.example/"' });
      else reply(response, 202, { location: '/v2/team/app/blobs/uploads/1', 'docker-upload-uuid': '1' });
    });
  });
  const edge = await startEdge({
    dir: folder.path,
    readyWithinMs: 60_000,
    config: {
      upstreams: [{ name: 'central', url: upstream.url, push: true, default: true }],
      auth: { mode: 'edge', edge: { htpasswd: 'users' } },
    },
  });
  t.teardown(() => edge.stop());
  const ada = basic('ada', 'right');
  const scope = 'repository:team/app:pull,push';
  const token = tokenIn(
    await get(`${edge.http}/auth/token?scope=${scope}`, { headers: ada, keepBody: true }),
  );
  const push = (headers: Record<string, string>) =>
    get(`${edge.http}/v2/team/app/blobs/uploads/`, { method: 'POST', headers, keepBody: true });
  for (const headers of [ada, bearer(token)]) t.equal((await push(headers)).status, 202);
  const pushes = upstream.asked.filter(({ method }) => method === 'POST');
  t.equal(pushes.length, 2);
  for (const { headers } of pushes) t.notOk('authorization' in headers);
  refuses = true;
  const refused = await push(ada);
  t.equal(refused.status, 403);
  t.notOk('www-authenticate' in refused.headers, 'nobody is sent to its token service');
  t.equal((await push(basic('ada', 'wrong'))).status, 401);
});
