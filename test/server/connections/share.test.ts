import * as fc from 'fast-check';
import t from 'tap';
import { shareOf } from '../../../src/server/connections/share.ts';

void t.test('the shares of all workers hold the limit, and not much more', async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10_000_000 }),
      fc.integer({ min: 1, max: 64 }),
      (limit, workers) => {
        const share = shareOf(limit, workers);
        return Number.isInteger(share) && share <= limit && share * workers >= limit;
      },
    ),
  );
  t.equal(shareOf(1024, 1), 1024);
  t.equal(shareOf(1024, 2), 580);
  t.equal(shareOf(1024, 8), 162);
  t.equal(shareOf(1, 2), 1);
});
