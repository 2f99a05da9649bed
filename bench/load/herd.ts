import { fileURLToPath } from 'node:url';
import { runProcess } from '../../test/support/processes.ts';
import type { HerdOrder, HerdReport } from './herd-client.ts';

const PROGRAM = fileURLToPath(new URL('./herd-client.ts', import.meta.url));

/** @throws {Error} when any client of the herd did not get the right body. */
export async function runHerd(order: HerdOrder): Promise<HerdReport> {
  const done = await runProcess(process.execPath, [PROGRAM, JSON.stringify(order)], { timeoutMs: 300_000 });
  if (done.code !== 0)
    throw new Error(`the herd did not come home (${done.signal ?? done.code}): ${done.stderr}`);
  const report = JSON.parse(done.stdout) as HerdReport;
  if (report.failures.length > 0) {
    throw new Error(`${report.failures.length} of ${order.clients} clients failed: ${report.failures[0]}`);
  }
  return report;
}
