import type { Central } from '../../test/support/central.ts';
import { eventually } from '../../test/support/eventually.ts';
import type { Act } from './acts.ts';
import type { Figures, Row } from './figures.ts';
import type { Screen } from './screen.ts';

/**
 * Explains an act, runs it, counts, and says how it went.
 * @param before the acts that went before, for comparison.
 * @throws {NotAsPromised}
 */
export async function play(act: Act, central: Central, screen: Screen, before: readonly Row[]): Promise<Row> {
  for (const line of act.about) screen.note(line);
  if (act.prepare !== undefined) screen.note(await act.prepare());
  await eventually(() => central.running === 0, { what: 'the central has nothing left to send' });
  central.forget();
  let clientBytes = 0;
  const started = performance.now();
  const stop = screen.follow(act.clientBytes, () => ({ clientBytes, wanBytes: central.bytesSent() }));
  let pulled;
  let took = 0;
  try {
    pulled = await act.run((bytes) => {
      clientBytes += bytes;
    });
    took = (performance.now() - started) / 1000;
  } finally {
    stop();
  }
  const figures: Figures = {
    seconds: took,
    clientBytes,
    wanBytes: central.bytesSent(),
    wanRequests: central.requests(),
  };
  const row = { ...figures, act: act.name, remark: act.judge(figures, pulled, before) };
  screen.done(row);
  return row;
}
