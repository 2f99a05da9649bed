import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findPart, missing, packagesOf, PART_NAMES } from './parts.ts';
import { denyServices } from './prepare.ts';
import { runProcess } from './processes.ts';
import { tempFolder } from './temp.ts';

void t.test('services are denied only while packages are installed', async (t) => {
  const policy = join(tempFolder(t), 'policy-rc.d');
  const undo = denyServices(policy);
  t.equal(statSync(policy).mode & 0o777, 0o755);
  t.equal((await runProcess(policy, ['docker', 'start'])).code, 101);
  undo();
  t.notOk(existsSync(policy));
});

void t.test("somebody else's policy is left alone", async (t) => {
  const policy = join(tempFolder(t), 'policy-rc.d');
  writeFileSync(policy, '#!/bin/sh\nexit 0\n');
  denyServices(policy)();
  t.ok(existsSync(policy));
});

void t.test('finds programs, and says which are missing', async (t) => {
  t.type(findPart('sh'), 'string');
  t.equal(findPart('no-such-program'), undefined);
  t.equal(findPart('mine', tempFolder(t)), undefined);
  t.same(packagesOf(['docker', 'dockerd', 'wrk']), ['docker.io', 'wrk']);
});

void t.test('one line when all is there', { skip: missing(...PART_NAMES) }, async (t) => {
  const { code, stdout } = await runProcess(process.execPath, [join(import.meta.dirname, 'prepare.ts')]);
  t.equal(code, 0);
  t.match(stdout, /^parts: docker \d+\.\S+, dockerd \d+\.[^\n]*\n$/);
});
