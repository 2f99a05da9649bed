import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import t, { type Test } from 'tap';
import { LdapSource } from '../../../src/access/directory/ldap-source.ts';
import { SourceUnavailable } from '../../../src/access/sources.ts';
import type { LdapConfig } from '../../../src/config/access/access-config.ts';
import { ms } from '../../../src/lib/brand.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { missing } from '../../support/parts.ts';
import { selfSigned } from '../../support/self-signed.ts';
import { startSlapd } from '../../support/slapd.ts';
import { SourceLog } from '../../support/source-log.ts';
import { tempFolder } from '../../support/temp.ts';

const CANARY = 'canary-password';

/** Servers that no real one is: they do what the connection handler says. Returns the port. */
async function serve(t: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

function open(t: Test, config: Partial<LdapConfig>) {
  const log = new SourceLog();
  const clock = new FakeClock();
  const source = new LdapSource(
    {
      urls: [],
      bindDn: 'cn=edge,dc=corp',
      bindPassword: 'canary-service-password',
      userBase: 'ou=people,dc=corp',
      userFilter: '(uid={user})',
      groupFilter: '(member={dn})',
      timeout: ms(5000),
      ...config,
    },
    clock,
    log,
  );
  t.teardown(() => source.close());
  return { source, log, clock };
}

void t.test('a dead server costs one caller one timeout, and the others nothing', async (t) => {
  let connections = 0;
  const port = await serve(
    t,
    createServer(() => void (connections += 1)),
  );
  const { source, log, clock } = open(t, { urls: [`ldaps://127.0.0.1:${port}`], timeout: ms(200) });
  await t.rejects(source.check('ada', CANARY), SourceUnavailable);
  t.match(log.lines, [/down no connection within 200 ms$/]);
  await eventually(() => clock.sleeping === 1, {
    what: 'the probe that followed at once has failed as well',
  });
  t.equal(connections, 2);
  for (let at = 0; at < 20; at += 1) await t.rejects(source.check('ada', CANARY), SourceUnavailable);
  t.equal(connections, 2, 'nobody has asked it since');
  await clock.advance(1000);
  await eventually(() => clock.sleeping === 1);
  t.equal(connections, 3, 'but the next probe');
  await clock.advance(1000);
  t.equal(connections, 3, 'and the one after that comes later');
});

void t.test('passwords that wait are counted', async (t) => {
  let connections = 0;
  const port = await serve(
    t,
    createServer(() => void (connections += 1)),
  );
  const { source } = open(t, { urls: [`ldaps://127.0.0.1:${port}`], timeout: ms(500) });
  const waiting = Array.from({ length: 4 + 128 }, (_, at) => source.check(`user${at}`, CANARY));
  await t.rejects(source.check('ada', CANARY), { message: /too many passwords wait/ });
  const ended = await Promise.allSettled(waiting);
  t.ok(ended.every(({ status }) => status === 'rejected'));
  t.ok(connections <= 2, `${connections} connections: those of one caller, and a probe`);
});

void t.test('a server without StartTLS never gets a password in the clear', async (t) => {
  const received: Buffer[] = [];
  // ExtendedResponse to message 2: protocolError.
  const refusal = Buffer.from('300c02010278070a010204000400', 'hex');
  const port = await serve(
    t,
    createServer((socket) =>
      socket.on('data', (chunk: Buffer) => {
        received.push(chunk);
        socket.write(refusal);
      }),
    ),
  );
  const { source, log } = open(t, { urls: [`ldap://127.0.0.1:${port}`] });
  await t.rejects(source.check('ada', CANARY), SourceUnavailable);
  t.match(log.lines, [/down it refuses StartTLS \(2\)$/]);
  t.notMatch(Buffer.concat(received).toString('latin1'), /canary|ada/);
});

void t.test(
  'a connection that is cut while it is asked: another is tried',
  { skip: missing('slapd') },
  async (t) => {
    await using slapd = await startSlapd();
    await slapd.person('ada', CANARY);
    let cuts = 0;
    const port = await serve(
      t,
      createServer((client) => {
        const server = connect(Number(new URL(slapd.ldaps).port), '127.0.0.1');
        server.on('error', () => undefined);
        server.pipe(client);
        client.on('close', () => server.destroy());
        client.on('data', (chunk: Buffer) => {
          if (cuts === 0) return void server.write(chunk);
          cuts -= 1;
          client.destroy();
        });
      }),
    );
    const { bindDn, bindPassword } = { bindDn: slapd.service.dn, bindPassword: slapd.service.password };
    const { source, log } = open(t, {
      urls: [`ldaps://127.0.0.1:${port}`],
      ca: slapd.ca,
      bindDn,
      bindPassword,
    });
    t.match(await source.check('ada', CANARY), { user: 'ada' });
    cuts = 1;
    t.match(await source.check('ada', CANARY), { user: 'ada' });
    t.equal(cuts, 0);
    t.match(log.lines, [/up$/]);
    t.equal(log.lines.length, 1);
  },
);

void t.test(
  'what somebody in between adds before TLS is not taken for an answer',
  { skip: missing('slapd') },
  async (t) => {
    await using slapd = await startSlapd();
    await slapd.person('ada', CANARY);
    const { port: slapdPort } = new URL(slapd.ldap);
    const port = await serve(
      t,
      createServer((client) => {
        const server = connect(Number(slapdPort), '127.0.0.1');
        client.pipe(server);
        server.on('error', () => undefined);
        client.on('close', () => server.destroy());
        server.once('data', (answer: Buffer) => {
          // The beginning of a BindResponse with success to message 3, which the server's own of 14 octets would complete.
          client.write(Buffer.concat([answer, Buffer.from('301a02010361150a01000400040e', 'hex')]));
          server.pipe(client);
        });
      }),
    );
    const { source } = open(t, {
      urls: [`ldap://127.0.0.1:${port}`],
      ca: slapd.ca,
      bindDn: slapd.service.dn,
      bindPassword: slapd.service.password,
    });
    t.equal(await source.check('ada', 'wrong'), undefined);
    t.match(await source.check('ada', CANARY), { user: 'ada' });
  },
);

void t.test('an answer without an end', async (t) => {
  const { key, cert } = await selfSigned(tempFolder(t));
  function* endless() {
    yield Buffer.from('30847fffffff', 'hex');
    for (;;) yield Buffer.alloc(1024 * 1024);
  }
  const port = await serve(
    t,
    createTlsServer({ key, cert }, (socket) =>
      socket.once('data', () => pipeline(endless(), socket, () => undefined)),
    ),
  );
  const { source } = open(t, { urls: [`ldaps://127.0.0.1:${port}`], ca: cert.toString() });
  await t.rejects(source.check('ada', CANARY), { message: /its answer is too long/ });
});
