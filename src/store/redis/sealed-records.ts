import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Table } from '../metadata-store.ts';

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const VERSION = 1;
/** Version, nonce, tag; sealed behind them: expiry (8 bytes, 0 for never), length of the key (2), key, value. */
const OUTER_BYTES = 1 + NONCE_BYTES + TAG_BYTES;
const INNER_BYTES = 8 + 2;
export const RECORD_OVERHEAD = OUTER_BYTES + INNER_BYTES;

export interface OpenRecord {
  readonly key: string;
  readonly value: Uint8Array;
  readonly expiresAt: Milliseconds | undefined;
}

/**
 * What stands between the metadata and a store that others can write to. Records are AES-256-GCM encrypted under a key
 * of their own name, so that one that was changed, cut, made up, or moved to another name or table does not open: a
 * link says who may read what, and no Redis is to say that. Names are HMACed. Redis learns sizes and times.
 * What it can do is hold back a record, or show an older one until that expires.
 */
export class SealedRecords {
  readonly #encryptionKey: Buffer;
  readonly #namingKey: Buffer;

  /** @param secret 32 bytes that all edges of a site share. @throws {RangeError} when it is not. */
  constructor(secret: Uint8Array) {
    if (secret.byteLength !== KEY_BYTES) throw new RangeError(`a site secret must be ${KEY_BYTES} bytes`);
    this.#encryptionKey = derive(secret, 'pierhead records: encryption');
    this.#namingKey = derive(secret, 'pierhead records: names');
  }

  /** What stands for the key in Redis. */
  nameOf(table: Table, key: string): string {
    return `${table}:${createHmac('sha256', this.#namingKey).update(`${table}\n${key}`).digest('base64url')}`;
  }

  /** A copy: the value may change afterwards. */
  seal(name: string, { key, value, expiresAt }: OpenRecord): Buffer {
    const keyBytes = Buffer.from(key);
    const inner = Buffer.allocUnsafe(INNER_BYTES);
    inner.writeDoubleLE(expiresAt ?? 0, 0);
    inner.writeUInt16LE(keyBytes.byteLength, 8);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#keyOf(name), nonce, { authTagLength: TAG_BYTES });
    const sealed = [cipher.update(inner), cipher.update(keyBytes), cipher.update(value), cipher.final()];
    return Buffer.concat([Buffer.of(VERSION), nonce, cipher.getAuthTag(), ...sealed]);
  }

  /** Undefined for anything that was not sealed under this secret and this name. */
  open(name: string, record: Uint8Array): OpenRecord | undefined {
    if (record.byteLength < RECORD_OVERHEAD || record[0] !== VERSION) return undefined;
    const nonce = record.subarray(1, 1 + NONCE_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', this.#keyOf(name), nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(record.subarray(1 + NONCE_BYTES, OUTER_BYTES));
    try {
      const inner = Buffer.concat([decipher.update(record.subarray(OUTER_BYTES)), decipher.final()]);
      const end = INNER_BYTES + inner.readUInt16LE(8);
      const expiresAt = inner.readDoubleLE(0);
      return {
        key: inner.toString('utf8', INNER_BYTES, end),
        value: inner.subarray(end),
        expiresAt: expiresAt === 0 ? undefined : ms(expiresAt),
      };
    } catch {
      // Tampered with, of another secret, or moved from another name: all the same to us.
      return undefined;
    }
  }

  /** One key a name: binds a record to its name, and keeps random nonces from ever meeting, however many are written. */
  #keyOf(name: string): Buffer {
    return createHmac('sha256', this.#encryptionKey).update(name).digest();
  }
}

/** What an operator is told who gave none. */
export const NO_SECRET =
  'redis.secret is not set, so no other edge can read what this one keeps in Redis: ' +
  'make one with "openssl rand -base64 32" and give it to every edge of the site';

/** 32 bytes from the text that the operator gives all edges of a site; `purpose` tells independent keys apart. */
export function siteKey(
  secret: string | Uint8Array,
  purpose: 'records' | 'tokens' | 'leases' | 'announcements' | 'rates',
): Uint8Array {
  return derive(Buffer.from(secret), `pierhead site: ${purpose}`);
}

function derive(secret: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, new Uint8Array(0), purpose, KEY_BYTES));
}
