import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { AuditEntry } from '../../../src/audit/audit-entry.ts';
import { AuditOutbox } from '../../../src/audit/audit-outbox.ts';
import { RegistryError, type ErrorCode } from '../../../src/oci/error-codes.ts';
import { LineWriter } from '../../../src/observe/line-writer.ts';
import { createLog } from '../../../src/observe/log.ts';
import { WorkerMetrics } from '../../../src/observe/metrics.ts';
import { errorAnswer } from '../../../src/server/answers.ts';
import { RequestRecords, type EndedRequest } from '../../../src/server/records/request-records.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { eventually } from '../../support/eventually.ts';
import { tempFolder } from '../../support/temp.ts';

const PING: EndedRequest = { requestId: 'a', address: '192.0.2.1', route: 'ping', method: 'GET' };

function setUp(t: Test) {
  const clock = new FakeClock();
  const file = join(tempFolder(t, 'log'), 'log');
  const fd = openSync(file, 'w');
  t.teardown(() => closeSync(fd));
  const entries: AuditEntry[] = [];
  const audit = new AuditOutbox(clock, (handed) => entries.push(...handed));
  const log = createLog('info', 'test', new LineWriter(fd));
  const records = new RequestRecords({ clock, log, metrics: new WorkerMetrics('test'), audit });
  let marks = 0;
  return {
    clock,
    refuse: (code: ErrorCode, ended: Partial<EndedRequest> = {}, status?: number): void => {
      const answer = errorAnswer(new RegistryError(code, 'no'), false);
      const sent = { bytes: 0, broken: undefined };
      records.add({ ...PING, ...ended }, { ...answer, status: status ?? answer.status }, sent, { took: 1 });
    },
    /** What went on record since the last call. */
    recorded: (): AuditEntry[] => {
      audit.flush();
      return entries.splice(0);
    },
    /** All that was logged so far; it is written behind, in order. */
    logged: async (): Promise<Record<string, unknown>[]> => {
      const last = `last ${(marks += 1)}`;
      log.info(last);
      const text = await eventually(() => {
        const written = readFileSync(file, 'utf8');
        return written.includes(last) ? written : undefined;
      });
      const lines = text.trim().split('\n');
      return lines
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ msg }) => msg === 'request');
    },
  };
}

void t.test(
  'strangers who are refused again and again: the first at once, the rest as a count',
  async (t) => {
    const { clock, refuse, recorded, logged } = setUp(t);
    for (let n = 0; n < 1000; n += 1) refuse('UNAUTHORIZED');
    for (let n = 0; n < 1000; n += 1) refuse('UNSUPPORTED', { route: 'none' }, 400);
    for (let n = 0; n < 1000; n += 1) refuse('DENIED', { route: 'none', denied: 'access.deny' });
    t.match(recorded(), [
      { action: 'ping', user: 'anonymous', ip: '192.0.2.1', status: 401, reason: 'UNAUTHORIZED' },
      { action: 'none', status: 400, reason: 'UNSUPPORTED' },
      { action: 'none', status: 403, reason: 'access.deny' },
    ]);
    t.same(
      (await logged()).map(({ status, leftOut }) => [status, leftOut]),
      [
        [401, undefined],
        [400, undefined],
        [403, undefined],
      ],
    );
    await clock.advance(60_000);
    refuse('UNAUTHORIZED');
    t.match(recorded(), [{ reason: 'UNAUTHORIZED (999 more before)' }]);
    t.match((await logged()).at(-1), { status: 401, leftOut: 999 });
  },
);

void t.test(
  'each address, each reason and each kind of act has a line of its own; a /64 is one address',
  async (t) => {
    const { refuse, recorded, logged } = setUp(t);
    for (let n = 0; n < 3; n += 1) {
      refuse('UNAUTHORIZED');
      refuse('UNAUTHORIZED', { address: '192.0.2.2' });
      refuse('UNAUTHORIZED', { address: `2001:db8::${n}` });
      refuse('UNAUTHORIZED', { route: 'token' });
      refuse('UNAUTHORIZED', { route: 'manifest', method: 'PUT' });
      refuse('DIGEST_INVALID');
    }
    t.same(
      recorded().map(({ action, ip, status }) => `${action} ${ip} ${status}`),
      [
        'ping 192.0.2.1 401',
        'ping 192.0.2.2 401',
        'ping 2001:db8::0 401',
        'login 192.0.2.1 401',
        'push 192.0.2.1 401',
        'ping 192.0.2.1 400',
      ],
    );
    t.equal((await logged()).length, 6);
  },
);

void t.test(
  'what somebody known is refused, and who may not have what there is, is told one by one',
  async (t) => {
    const { refuse, recorded, logged } = setUp(t);
    for (let n = 0; n < 5; n += 1) {
      refuse('UNAUTHORIZED', { user: 'ada' });
      refuse('UNSUPPORTED', { user: 'ada', route: 'none' }, 400);
      refuse('DENIED', { route: 'manifest', denied: 'no role allows it' });
    }
    t.equal(recorded().length, 15);
    t.equal((await logged()).length, 15);
  },
);
