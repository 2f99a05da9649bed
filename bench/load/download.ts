import { get, type Answer } from '../../test/support/clients.ts';
import type { BlobFixture } from '../../test/support/images.ts';

/**
 * One GET on a connection of its own, its body compared with what was pushed.
 * @param ca whom to trust, for an `https:` address.
 * @throws {Error} when the status, the length or the digest is wrong: no figure may come of it then.
 */
export async function download(url: string, expected: BlobFixture, ca?: string): Promise<Answer> {
  const secure = ca === undefined ? {} : { ca, servername: 'localhost' };
  const answer = await get(url, { headers: { accept: expected.mediaType }, timeoutMs: 180_000, ...secure });
  if (answer.status !== 200) throw new Error(`${url}: status ${answer.status}`);
  if (!answer.complete || answer.bytes !== expected.size) {
    throw new Error(`${url}: ${answer.bytes} bytes instead of ${expected.size} (${answer.error ?? 'ended'})`);
  }
  if (`sha256:${answer.sha256}` !== expected.digest) throw new Error(`${url}: a body of another digest`);
  return answer;
}
