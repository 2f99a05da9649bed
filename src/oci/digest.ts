import { createHash, type Hash } from 'node:crypto';
import type { Brand } from '../lib/brand.ts';

/** `sha256:<64 hex>` or `sha512:<128 hex>`, lower case: the registered algorithms of the OCI image spec, nothing else. */
export type Digest = Brand<string, 'Digest'>;
export type DigestAlgorithm = 'sha256' | 'sha512';

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function parseDigest(text: string): Digest | undefined {
  return text.length <= 135 && DIGEST.test(text) ? (text as Digest) : undefined;
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** The part after the colon: safe as a file name. */
export function hexOf(digest: Digest): string {
  return digest.slice(7);
}

export function hasherFor(digest: Digest): Hash {
  return createHash(algorithmOf(digest));
}

/** True when `hash` (ended by this call) has seen exactly the bytes that `digest` names. */
export function completes(hash: Hash, digest: Digest): boolean {
  return hash.digest('hex') === hexOf(digest);
}

export function digestOf(content: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(content).digest('hex')}` as Digest;
}
