import { AuditFile } from './audit/audit-file.ts';
import { AuditLog, type AuditSink } from './audit/audit-log.ts';
import { AuditStdout, AuditSyslog } from './audit/audit-streams.ts';
import type { ChainEnd } from './audit/audit-chain.ts';
import type { AuditConfig } from './config/config.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import { LineWriter } from './observe/line-writer.ts';
import type { Log } from './observe/log.ts';
import type { KeeperMetrics } from './observe/metrics.ts';
import { Seldom } from './observe/seldom.ts';

/**
 * Opens the record of accesses; undefined when none is kept.
 * @throws when it cannot be written: an edge that should keep a record does not start without one.
 */
export async function openAudit(
  { to }: AuditConfig,
  metrics: KeeperMetrics,
  log: Log,
): Promise<AuditLog | undefined> {
  if (to === null) return undefined;
  const seldom = new Seldom(systemClock, seconds(60));
  const { sink, end } = await openSink(to);
  return new AuditLog({
    sink,
    end,
    clock: systemClock,
    events: {
      failed: (lost, err) => {
        metrics.auditFailures.inc(Math.max(1, lost));
        seldom.run('audit', (leftOut) =>
          log.error({ err, to, lost, leftOut }, 'the audit log cannot be written'),
        );
      },
    },
  });
}

async function openSink(to: string): Promise<{ sink: AuditSink; end?: ChainEnd }> {
  if (to === 'syslog') return { sink: new AuditSyslog() };
  if (to !== 'stdout') return await AuditFile.open(to);
  const writer = new LineWriter(1);
  process.on('exit', () => writer.flushSync());
  return { sink: new AuditStdout((text) => writer.write(text)) };
}
