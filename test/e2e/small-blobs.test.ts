import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { randomBlob } from '../support/images.ts';
import { leavesNothing, startBranch } from './branch.ts';

const BLOBS = 300;
const AT_ONCE = 8;

for (const workers of [1, 2]) {
  // The end of such a fill is told to the worker in the same breath as its beginning.
  void t.test(`many small cold blobs, each asked for twice, workers: ${workers}`, async (t) => {
    await using central = await startCentral();
    const blobs = Array.from({ length: BLOBS }, (_, seed) =>
      central.addBlob('library/app', randomBlob(500 + seed, seed)),
    );
    await using edge = await startBranch(central, { workers });
    const queue = blobs.flatMap((blob) => [blob, blob]).values();
    const wrong: unknown[] = [];
    const client = async (): Promise<void> => {
      for (const { digest } of queue) {
        const { sha256, status } = await get(`${edge.http}/v2/library/app/blobs/${digest}`, {
          timeoutMs: 15_000,
        });
        if (`sha256:${sha256}` !== digest) wrong.push({ digest, status });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, client));
    t.same(wrong, []);
    t.equal(central.requests('GET', 'blob'), BLOBS);
    await leavesNothing(t, edge);
  });
}
