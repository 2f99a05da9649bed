import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import type { Milliseconds } from '../lib/brand.ts';
import type { TokenStore } from './upstream.ts';

const SECRET_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Whoever reads the store beneath learns neither tokens nor what they are for: values are AES-256-GCM encrypted
 * (`nonce ‖ tag ‖ ciphertext`), bound to their key as additional data so that they cannot be swapped, and keys are
 * HMAC-SHA256ed. A value that does not open is a miss.
 */
export class SealedTokenStore implements TokenStore {
  readonly #store: TokenStore;
  readonly #encryptionKey: Buffer;
  readonly #namingKey: Buffer;

  /** @throws {RangeError} when the secret is not 32 bytes. */
  constructor(store: TokenStore, secret: Uint8Array) {
    if (secret.byteLength !== SECRET_BYTES)
      throw new RangeError(`token secret must be ${SECRET_BYTES} bytes`);
    this.#store = store;
    this.#encryptionKey = derive(secret, 'pierhead tokens: encryption');
    this.#namingKey = derive(secret, 'pierhead tokens: names');
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const sealed = await this.#store.get(this.#nameOf(key));
    return sealed === undefined ? undefined : this.#open(key, sealed);
  }

  async latest(key: string): Promise<Uint8Array | undefined> {
    const sealed = await this.#store.latest?.(this.#nameOf(key));
    return sealed === undefined ? undefined : this.#open(key, sealed);
  }

  async put(key: string, value: Uint8Array, expiresAt: Milliseconds): Promise<void> {
    await this.#store.put(this.#nameOf(key), this.#seal(key, value), expiresAt);
  }

  async delete(key: string): Promise<void> {
    await this.#store.delete(this.#nameOf(key));
  }

  #nameOf(key: string): string {
    return createHmac('sha256', this.#namingKey).update(key).digest('hex');
  }

  #seal(key: string, value: Uint8Array): Uint8Array {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#encryptionKey, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.from(key));
    const text = Buffer.concat([cipher.update(value), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), text]);
  }

  #open(key: string, sealed: Uint8Array): Uint8Array | undefined {
    if (sealed.byteLength < NONCE_BYTES + TAG_BYTES) return undefined;
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', this.#encryptionKey, nonce, {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(key));
    decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    try {
      const text = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
      return Buffer.concat([text, decipher.final()]);
    } catch {
      // Tampered with, of another secret, or moved from another key: all the same to us.
      return undefined;
    }
  }
}

function derive(secret: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, new Uint8Array(0), purpose, SECRET_BYTES));
}
