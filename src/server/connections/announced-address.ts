import type { Socket } from 'node:net';
import { readProxyHeader } from '../../access/proxies/proxy-header.ts';
import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

/** The protocol asks receivers to wait for at least 3 s. */
const PATIENCE = seconds(5);

export type Announcement =
  /** `address` is undefined where the proxy speaks for itself. */
  { readonly kind: 'heard'; readonly address: string | undefined } | { readonly kind: 'refused' };

/**
 * Reads the header of the PROXY protocol off a socket that nobody else reads yet, and puts back what follows it. Refused: something
 * else came, or nothing in time, or the end.
 */
export function hearAnnouncement(
  socket: Socket,
  clock: Clock,
  heard: (announcement: Announcement) => void,
): void {
  const over = new AbortController();
  let bytes = Buffer.alloc(0);
  const settle = (announcement: Announcement): void => {
    over.abort();
    socket.off('readable', onReadable);
    for (const event of ENDS) socket.off(event, onEnd);
    heard(announcement);
  };
  const onEnd = (): void => settle({ kind: 'refused' });
  const onReadable = (): void => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) return;
    bytes = Buffer.concat([bytes, chunk]);
    const header = readProxyHeader(bytes);
    if (header.kind === 'partial') return;
    if (header.kind === 'malformed') return onEnd();
    const rest = bytes.subarray(header.length);
    if (rest.length > 0) socket.unshift(rest);
    settle({ kind: 'heard', address: header.address });
  };
  socket.on('readable', onReadable);
  for (const event of ENDS) socket.once(event, onEnd);
  clock.sleep(PATIENCE, over.signal).then(onEnd, () => undefined);
}

const ENDS = ['end', 'close', 'error'] as const;
