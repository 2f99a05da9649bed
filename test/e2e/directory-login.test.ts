import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { get } from '../support/clients.ts';
import { basic, bearer, tokenIn } from '../support/edge-auth.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage, pushImage } from '../support/images.ts';
import { startOidcIssuer } from '../support/oidc-issuer.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { skopeoCopy } from '../support/skopeo.ts';
import { startSlapd } from '../support/slapd.ts';
import { tempFolder, TempFolder } from '../support/temp.ts';
import { leavesNothing } from './branch.ts';

const image = createImage({ layers: [3000] });
const MANIFEST = '/v2/library/app/manifests/latest';
const SKIP = { skip: missing('slapd', 'docker-registry', 'skopeo') };

void t.test('people of a directory and of an issuer get in, by what their groups may', SKIP, async (t) => {
  await using registry = await startRegistry();
  await pushImage(registry.url, 'library/app', 'latest', image);
  await using slapd = await startSlapd();
  const dn = await slapd.person('ada', 'canary-ldap-5c2d');
  await slapd.person('bob', 'b');
  await slapd.group('developers', [dn]);
  await using issuer = await startOidcIssuer(() => Date.now());
  await using folder = new TempFolder('edge');
  writeFileSync(folder.join('ldap.crt'), slapd.ca);
  writeFileSync(folder.join('issuer.crt'), issuer.ca);
  await using edge = await startEdge({
    dir: folder.path,
    workers: 2,
    config: {
      upstreams: [{ name: 'central', url: registry.url, default: true }],
      freshness: { tag: '1h' },
      audit: { to: 'audit.log' },
      log: { level: 'trace' },
      auth: {
        mode: 'edge',
        edge: {
          ldap: {
            url: slapd.ldaps,
            ca: 'ldap.crt',
            bindDn: slapd.service.dn,
            bindPassword: slapd.service.password,
            userBase: slapd.people,
            groupBase: slapd.groups,
            timeout: '1s',
          },
          oidc: { issuer: issuer.issuer, audience: 'pierhead', ca: 'issuer.crt' },
        },
      },
      roles: [{ role: 'reader', groups: ['developers'] }],
    },
  });
  const ask = async (path: string, headers: Record<string, string>): Promise<number> =>
    (await get(`${edge.http}${path}`, { headers })).status;
  const ada = basic('ada', 'canary-ldap-5c2d');
  const token = await issuer.token({ sub: 'grace', groups: ['developers'] });

  await t.test('with a password, with a token, with a token for a password', async (t) => {
    t.equal(await ask(MANIFEST, ada), 200);
    t.equal(await ask(MANIFEST, basic('ada', 'wrong')), 401);
    t.equal(await ask(MANIFEST, basic('bob', 'b')), 404, 'known, and in no group that may');
    t.equal(await ask(MANIFEST, bearer(token)), 200);
    t.equal(await ask(MANIFEST, basic('oidc', token)), 200);
    t.equal(await ask(MANIFEST, bearer(await issuer.token({ sub: 'mallory' }))), 404);
    for (const srcCredentials of ['ada:canary-ldap-5c2d', `oidc:${token}`]) {
      const options = { srcTlsVerify: false, srcCredentials };
      const from = `docker://${new URL(edge.http).host}/library/app:latest`;
      t.equal((await skopeoCopy(from, `dir:${tempFolder(t)}`, options)).code, 0);
    }
  });

  await t.test(
    'while neither of them answers, nobody new gets in, and those with a token go on',
    async (t) => {
      const scope = '/auth/token?service=pierhead&scope=repository:library/app:pull';
      const own = tokenIn(await get(`${edge.http}${scope}`, { headers: ada, keepBody: true }));
      slapd.pause();
      await issuer.stop();
      t.equal(await ask(MANIFEST, basic('bob', 'b2')), 503);
      t.equal(await ask(MANIFEST, bearer(own)), 200);
      t.equal(await ask(MANIFEST, bearer(token)), 200, 'its keys are known');
      slapd.resume();
      await eventually(async () => (await ask(MANIFEST, basic('bob', 'b'))) === 404, { timeoutMs: 60_000 });
    },
  );

  await t.test('no password and no token is anywhere', async (t) => {
    const { text } = await metricsOf(edge.admin);
    const records = readFileSync(folder.join('audit.log'), 'utf8');
    t.match(records, '"user":"ada"');
    t.match(records, '"user":"grace"');
    for (const secret of [
      'canary-ldap-5c2d',
      slapd.service.password,
      token.slice(0, 60),
      ada.authorization.slice(6),
    ])
      for (const place of [edge.output, records, text]) t.notOk(place.includes(secret));
  });
  await leavesNothing(t, edge);
});

async function metricsOf(admin: string): Promise<{ text: string }> {
  return { text: (await get(`${admin}/metrics`, { keepBody: true })).body.toString('utf8') };
}
