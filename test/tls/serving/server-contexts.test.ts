import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, type SecureContext } from 'node:tls';
import * as fc from 'fast-check';
import t, { type Test } from 'tap';
import { ServerContexts, type NamedPair } from '../../../src/tls/serving/server-contexts.ts';
import { makeSite, type Site } from './fixture.ts';

/** Serves as a listener of the edge does; says by which certificate (its first name) it answers whom. */
async function serve(t: Test, contexts: ServerContexts): Promise<(servername?: string) => Promise<string>> {
  const server: Server = createServer({
    ...contexts.options,
    SNICallback: (name, done) => done(null, contexts.contextFor(name)),
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return async (servername) => {
    const asked = servername === undefined ? {} : { servername };
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...asked });
    await once(socket, 'secureConnect');
    const { subjectaltname } = socket.getPeerCertificate();
    socket.destroy();
    return (subjectaltname ?? '').split(', ')[0]?.replace('DNS:', '') ?? '';
  };
}

function contextsOf(site: Site, ...further: NamedPair[]): ServerContexts {
  return new ServerContexts(site.main, further);
}

void t.test('an exact name goes before a wildcard, and what nobody has gets the main pair', async (t) => {
  const site = await makeSite(t, ['main.example', 'exact.wild.example']);
  const asked = await serve(
    t,
    contextsOf(site, site.pair('*.wild.example'), site.pair('b.example', 'b.wild.example')),
  );
  for (const [servername, answered] of [
    ['main.example', 'main.example'],
    ['a.wild.example', '*.wild.example'],
    ['A.Wild.EXAMPLE', '*.wild.example'],
    ['b.wild.example', 'b.example'],
    ['B.EXAMPLE', 'b.example'],
    ['exact.wild.example', 'main.example'],
    ['a.b.wild.example', 'main.example'],
    ['wild.example', 'main.example'],
    ['nobody.example', 'main.example'],
    ['__proto__', 'main.example'],
    ['x'.repeat(255), 'main.example'],
    ['*.wild.example', '*.wild.example'],
    [undefined, 'main.example'],
  ] as const) {
    t.equal(await asked(servername), answered, servername ?? 'no name');
  }
});

void t.test('where two pairs have a name, the first has it', async (t) => {
  const site = await makeSite(t, ['main.example']);
  const asked = await serve(
    t,
    contextsOf(site, site.pair('first.example', 'x.example'), site.pair('second.example', 'x.example')),
  );
  t.equal(await asked('x.example'), 'first.example');
  t.equal(await asked('second.example'), 'second.example');
});

void t.test('no name makes the choice throw, or makes a context in the handshake', async (t) => {
  const site = await makeSite(t, ['main.example']);
  const contexts = contextsOf(site, site.pair('*.wild.example'));
  const known = new Set<SecureContext | undefined>([undefined, contexts.contextFor('a.wild.example')]);
  t.equal(known.size, 2);
  const anything = fc.oneof(
    fc.anything(),
    fc.string(),
    fc.string({ unit: 'binary' }).map((s) => `${s}.wild.example`),
  );
  fc.assert(fc.property(anything, (name) => known.has(contexts.contextFor(name))));
});

void t.test('a further pair is served with the same rules as the main one', async (t) => {
  const site = await makeSite(t, ['main.example']);
  const contexts = new ServerContexts({ ...site.main, minVersion: 'TLSv1.3' }, [site.pair('b.example')]);
  const server = createServer({
    ...contexts.options,
    SNICallback: (name, done) => done(null, contexts.contextFor(name)),
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const old = connect({ port, servername: 'b.example', rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
  await t.rejects(once(old, 'secureConnect'), { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
});
