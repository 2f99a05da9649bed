import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import { parseAnnouncement, type Announcement } from './announcement.ts';

const MAC_BYTES = 32;
/** Names are at most 255 bytes, tags 128. */
const MAX_BYTES = 4096;
const VERSION = 1;

export interface SealedAnnouncement {
  /** Of this announcement: it is carried out once. */
  readonly id: string;
  /** The edge that announces. */
  readonly from: string;
  /** By the wall clock of that edge. */
  readonly at: Milliseconds;
  readonly announcement: Announcement;
}

/** Only who has the site's secret can announce: `HMAC-SHA256 ‖ JSON`. What is announced is no secret to Redis. */
export class AnnouncementSeal {
  readonly #key: Buffer;

  constructor(secret: Uint8Array) {
    this.#key = Buffer.from(
      hkdfSync('sha256', secret, new Uint8Array(0), 'pierhead site: announcements', MAC_BYTES),
    );
  }

  seal(announced: SealedAnnouncement): Uint8Array {
    const body = Buffer.from(JSON.stringify({ version: VERSION, ...announced }));
    return Buffer.concat([this.#mac(body), body]);
  }

  /** Undefined when it was not sealed under the same secret, or says nothing that is understood. */
  open(message: Uint8Array): SealedAnnouncement | undefined {
    if (message.byteLength <= MAC_BYTES || message.byteLength > MAX_BYTES) return undefined;
    const body = message.subarray(MAC_BYTES);
    if (!timingSafeEqual(this.#mac(body), message.subarray(0, MAC_BYTES))) return undefined;
    return parseSealed(body);
  }

  #mac(body: Uint8Array): Buffer {
    return createHmac('sha256', this.#key).update(body).digest();
  }
}

function parseSealed(body: Uint8Array): SealedAnnouncement | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString());
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, id, from, at, announcement } = value as Readonly<Record<string, unknown>>;
  const parsed = parseAnnouncement(announcement);
  if (version !== VERSION || typeof id !== 'string' || typeof from !== 'string') return undefined;
  return typeof at === 'number' && parsed !== undefined
    ? { id, from, at: ms(at), announcement: parsed }
    : undefined;
}
