import { X509Certificate } from 'node:crypto';
import * as fc from 'fast-check';
import t from 'tap';
import { readRevocationLists } from '../../../src/tls/clients/revocation-lists.ts';
import { TestAuthority } from './authority.ts';

void t.test('serial numbers and the end of lists that openssl wrote', async (t) => {
  const folder = t.testdir();
  const one = await TestAuthority.create(`${folder}/one`, 'One');
  const other = await TestAuthority.create(`${folder}/other`, 'Other');
  await one.writeRevocations();
  const empty = readRevocationLists(await one.crl());
  t.equal(empty.serials.size, 0);
  const revoked = [await one.issue('/CN=ada'), await one.issue('/CN=bob')];
  for (const pair of revoked) await one.revoke(pair);
  await one.writeRevocations(7200);
  await other.writeRevocations(3600);
  const { serials, until, count } = readRevocationLists(`${await one.crl()}\n${await other.crl()}`);
  t.same([...serials].sort(), revoked.map(({ cert }) => new X509Certificate(cert).serialNumber).sort());
  t.equal(count, 2);
  const left = ((until ?? 0) - Date.now()) / 1000;
  t.ok(left > 3000 && left <= 3600, 'the first end counts');
});

void t.test('a damaged list is an error or a list, and nothing else', async (t) => {
  const authority = await TestAuthority.create(t.testdir());
  await authority.revoke(await authority.issue('/CN=ada'));
  await authority.writeRevocations();
  const [head = '', ...body] = (await authority.crl()).trim().split('\n');
  const tail = body.pop() ?? '';
  const der = Buffer.from(body.join(''), 'base64');
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.nat(255), fc.nat(der.length), (at, octet, length) => {
      const damaged = Buffer.from(der.subarray(0, Math.max(length, 1)));
      if (at < damaged.length) damaged.writeUInt8(octet, at);
      try {
        readRevocationLists(`${head}\n${damaged.toString('base64')}\n${tail}`);
        return true;
      } catch (error) {
        return error instanceof RangeError;
      }
    }),
  );
});
