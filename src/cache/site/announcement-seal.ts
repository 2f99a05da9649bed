import { createHmac, timingSafeEqual } from 'node:crypto';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import { parseAnnouncement, type Announcement } from './announcement.ts';

const MAC_BYTES = 32;
/** Names are at most 255 bytes, tags 128. */
const MAX_BYTES = 4096;
const VERSION = 1;

export interface SiteMessage {
  /** The edge that sends it, since its last start. */
  readonly from: string;
  /** Counts that edge's messages from 1: none is taken twice, and a missing one is missed. */
  readonly sequence: number;
  /** By the wall clock of that edge. */
  readonly at: Milliseconds;
  /** Nothing: the edge only says that it is there, and what it has sent so far. */
  readonly announcement: Announcement | undefined;
}

/** Only who has the site's secret can announce: `HMAC-SHA256 ‖ JSON`. What is announced is no secret to Redis. */
export class AnnouncementSeal {
  readonly #key: Uint8Array;

  /** @param key shared by the edges of the site, and used for nothing else. */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  seal(message: SiteMessage): Uint8Array {
    const body = Buffer.from(JSON.stringify({ version: VERSION, ...message }));
    return Buffer.concat([this.#mac(body), body]);
  }

  /** Undefined when it was not sealed under the same key, or says nothing that is understood. */
  open(sealed: Uint8Array): SiteMessage | undefined {
    if (sealed.byteLength <= MAC_BYTES || sealed.byteLength > MAX_BYTES) return undefined;
    const body = sealed.subarray(MAC_BYTES);
    if (!timingSafeEqual(this.#mac(body), sealed.subarray(0, MAC_BYTES))) return undefined;
    return parseMessage(body);
  }

  #mac(body: Uint8Array): Buffer {
    return createHmac('sha256', this.#key).update(body).digest();
  }
}

function parseMessage(body: Uint8Array): SiteMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString());
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, from, sequence, at, announcement } = value as Readonly<Record<string, unknown>>;
  if (version !== VERSION || typeof from !== 'string' || typeof at !== 'number') return undefined;
  if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence)) return undefined;
  const parsed = parseAnnouncement(announcement);
  if (announcement !== undefined && parsed === undefined) return undefined;
  return { from, sequence, at: ms(at), announcement: parsed };
}
