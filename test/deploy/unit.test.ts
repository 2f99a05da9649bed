import { join } from 'node:path';
import t from 'tap';
import { part } from '../support/parts.ts';
import { runProcess } from '../support/processes.ts';

const UNIT = join(import.meta.dirname, '../../deploy/pierhead.service');

void t.test('the systemd unit is exposed by at most 2.0', async (t) => {
  const args = ['security', '--no-pager', '--offline=true', '--threshold=20', UNIT];
  const { code, stdout, stderr } = await runProcess(part('systemd-analyze'), args);
  t.equal(code, 0, stdout + stderr);
  t.match(stdout, /Overall exposure level for pierhead\.service: [01]\.\d/);
});
