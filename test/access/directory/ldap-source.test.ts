import { ms } from '../../../src/lib/brand.ts';
import { LdapSource } from '../../../src/access/directory/ldap-source.ts';
import type { LdapConfig } from '../../../src/config/access/access-config.ts';
import { SourceUnavailable } from '../../../src/access/sources.ts';
import t, { type Test } from 'tap';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { missing } from '../../support/parts.ts';
import { selfSigned } from '../../support/self-signed.ts';
import { startSlapd, type Slapd } from '../../support/slapd.ts';
import { SourceLog } from '../../support/source-log.ts';
import { tempFolder } from '../../support/temp.ts';
import { freePort } from '../../support/free-port.ts';

const skip = missing('slapd');
const CANARY = 'canary-password';

function open(t: Test, slapd: Slapd, more: Partial<LdapConfig> = {}) {
  const log = new SourceLog();
  const clock = new FakeClock();
  const config: LdapConfig = {
    urls: [slapd.ldaps],
    ca: slapd.ca,
    bindDn: slapd.service.dn,
    bindPassword: slapd.service.password,
    userBase: slapd.people,
    userFilter: '(uid={user})',
    groupBase: slapd.groups,
    groupFilter: '(member={dn})',
    timeout: ms(5000),
    ...more,
  };
  const source = new LdapSource(config, clock, log);
  t.teardown(() => source.close());
  return { source, log, clock, config };
}

const unavailable = (message: RegExp) => ({ name: 'SourceUnavailable', message });

void t.test('an OpenLDAP that answers', { skip }, async (t) => {
  await using slapd = await startSlapd();
  const ada = await slapd.person('ada', CANARY, { mail: 'ada@corp' });
  const bob = await slapd.person('bob', 'bobs-password');
  await slapd.person('nobody', undefined);
  await slapd.group(['crew', 'all hands'], [ada, bob]);
  await slapd.group('Quay, north + south', [ada]);
  const known = { user: 'ada', groups: ['crew', 'all hands', 'Quay, north + south'], by: 'ldap' };

  for (const url of [slapd.ldaps, slapd.ldap])
    await t.test(`a name and its password, over ${url.replace(/:\d+/, '')}`, async (t) => {
      const { source, log } = open(t, slapd, { urls: [url] });
      t.strictSame(await source.check('ada', CANARY), known);
      t.strictSame(await source.check('bob', 'bobs-password'), {
        ...known,
        user: 'bob',
        groups: ['crew', 'all hands'],
      });
      t.strictSame(await source.check('ADA', CANARY), known, 'as the directory spells it');
      t.equal(await source.check('ada', 'wrong'), undefined);
      t.equal(await source.check('ada', 'bobs-password'), undefined);
      t.equal(await source.check('eve', CANARY), undefined);
      t.match(slapd.log, `BIND dn="cn=unknown,${slapd.people}"`, 'somebody who is not there takes as long');
      t.equal(await source.check('nobody', CANARY), undefined, 'an entry without a password');
      t.strictSame(await source.check('ada', CANARY), known, 'after all that');
      t.strictSame(log.lines, [`ldap ${url} up`]);
    });

  await t.test('a password that is empty, which the directory takes for nobody', async (t) => {
    const { source } = open(t, slapd);
    for (const name of ['ada', 'nobody', '']) t.equal(await source.check(name, ''), undefined);
    t.equal(await source.check('', CANARY), undefined);
  });

  await t.test('a name is never a filter', async (t) => {
    const { source } = open(t, slapd);
    for (const name of [
      '*',
      'a*',
      '*)(uid=*',
      'ada)(|(uid=*',
      'ada)(objectClass=*',
      String.raw`\61da`,
      String.raw`\2a`,
      'ada\0',
      'eve)(!(uid=x',
    ])
      t.equal(await source.check(name, CANARY), undefined, name);
    t.match(slapd.log, String.raw`filter="(uid=\2A\29\28uid=\2A)"`);
  });

  await t.test('a name that two entries answer to', async (t) => {
    await slapd.person('impostor', 'impostors', { mail: 'ada' });
    const { source, log } = open(t, slapd, { userFilter: '(|(uid={user})(mail={user}))' });
    t.equal(await source.check('ada', CANARY), undefined);
    t.equal(await source.check('ada', 'impostors'), undefined);
    t.match(log.lines, [/up$/, /userFilter finds several entries/, /several/]);
    t.match(
      await source.check('ada@corp', CANARY),
      { user: 'ada' },
      'by another attribute, known by the first',
    );
  });

  await t.test('groups by memberOf', async (t) => {
    const { groupBase: _, ...config } = open(t, slapd).config;
    const source = new LdapSource(config, new FakeClock(), new SourceLog());
    t.teardown(() => source.close());
    t.strictSame(await source.check('ada', CANARY), { ...known, groups: ['crew', 'Quay, north + south'] });
  });

  await t.test('what the service account may not or cannot', async (t) => {
    const wrong = open(t, slapd, { bindPassword: 'canary-wrong' });
    await t.rejects(wrong.source.check('ada', CANARY), unavailable(/no server of the directory answers/));
    t.match(wrong.log.lines, [/down it refuses auth\.edge\.ldap\.bindDn with that bindPassword$/]);
    const base = open(t, slapd, { userBase: 'ou=elsewhere,dc=corp' });
    await t.rejects(base.source.check('ada', CANARY), unavailable(/NoSuchObjectError \(32\)/));
    const { bindDn: _, bindPassword: __, ...config } = base.config;
    const nobody = new LdapSource({ ...config, userBase: slapd.people }, new FakeClock(), base.log);
    t.teardown(() => nobody.close());
    await t.rejects(nobody.check('ada', CANARY), SourceUnavailable, 'this directory shows nobody anything');
    t.notMatch([...wrong.log.lines, ...base.log.lines].join(), /canary/);
  });

  await t.test('a certificate that is not to be trusted', async (t) => {
    const { cert } = await selfSigned(tempFolder(t));
    for (const url of [slapd.ldaps, slapd.ldap]) {
      for (const [more, code] of [
        [{ ca: cert.toString(), urls: [url] }, /SELF_SIGNED/],
        [{ urls: [url.replace('127.0.0.1', 'localhost')] }, /ALTNAME_INVALID/],
      ] as const) {
        const { source, log } = open(t, slapd, more);
        await t.rejects(source.check('ada', CANARY), SourceUnavailable);
        t.match(log.lines, [/certificate is not trusted for that name.*mend auth\.edge\.ldap\.ca/]);
        t.match(log.lines, [code]);
      }
    }
  });
  t.notMatch(
    slapd.log,
    /conn=\d+ op=\d+ RESULT .*confidentiality required/,
    'nothing was asked in the clear',
  );
});

void t.test('a directory that everybody may search', { skip }, async (t) => {
  await using slapd = await startSlapd({ anonymous: true });
  await slapd.person('ada', CANARY);
  const { bindDn: _, bindPassword: __, ...config } = open(t, slapd).config;
  const source = new LdapSource(config, new FakeClock(), new SourceLog());
  t.teardown(() => source.close());
  t.match(await source.check('ada', CANARY), { user: 'ada', groups: [] });
  t.equal(await source.check('ada', 'wrong'), undefined);
});

void t.test('a directory that is killed, and comes back', { skip }, async (t) => {
  await using slapd = await startSlapd();
  await slapd.person('ada', CANARY);
  const { source, log, clock } = open(t, slapd);
  t.match(await source.check('ada', CANARY), { user: 'ada' });
  await slapd.kill();
  await slapd.start();
  t.match(await source.check('ada', CANARY), { user: 'ada' }, 'on new connections: the old ones are gone');
  await slapd.kill();
  for (let at = 0; at < 3; at += 1) await t.rejects(source.check('ada', CANARY), SourceUnavailable);
  await slapd.start();
  await eventually(async () => {
    await clock.advance(1000);
    return log.lines.at(-1)?.endsWith(' up');
  });
  t.match(await source.check('ada', CANARY), { user: 'ada' });
  t.match(log.lines, [/up$/, /down no connection \(ECONNREFUSED\)$/, /up$/]);
});

void t.test('a directory that hangs', { skip }, async (t) => {
  await using slapd = await startSlapd();
  await slapd.person('ada', CANARY);
  const { source, log, clock } = open(t, slapd, { timeout: ms(2000) });
  t.match(await source.check('ada', CANARY), { user: 'ada' });
  slapd.pause();
  await t.rejects(source.check('ada', CANARY), SourceUnavailable);
  t.match(log.lines.at(-1), /down no answer within 2000 ms$/);
  slapd.resume();
  await eventually(async () => {
    await clock.advance(1000);
    return log.lines.at(-1)?.endsWith(' up');
  });
  t.match(await source.check('ada', CANARY), { user: 'ada' });
});

void t.test('several servers, in the order of preference', { skip }, async (t) => {
  await using slapd = await startSlapd();
  await slapd.person('ada', CANARY);
  const dead = `ldaps://127.0.0.1:${await freePort()}`;
  const { source, log } = open(t, slapd, { urls: [dead, slapd.ldap, slapd.ldaps] });
  for (let at = 0; at < 3; at += 1) t.match(await source.check('ada', CANARY), { user: 'ada' });
  t.match(log.lines, [`ldap ${dead} down no connection (ECONNREFUSED)`, `ldap ${slapd.ldap} up`]);
});
