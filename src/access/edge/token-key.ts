import { createECDH, createPrivateKey, createPublicKey, hkdfSync, type KeyObject } from 'node:crypto';

/** The order of P-256 (SEC 2, 2.4.2). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
/** 64 bits more than the order, so that no scalar is more likely than another (FIPS 186-5, A.2.1). */
const SEED_BYTES = 40;

/**
 * The private scalar that this edge signs its tokens with: the same for the same secret, so that all workers, the next start, and
 * the edges that share the secret take each other's tokens.
 */
export function deriveTokenKey(secret: string | Uint8Array): Uint8Array {
  const seed = Buffer.from(hkdfSync('sha256', Buffer.from(secret), '', 'pierhead tokens: ES256', SEED_BYTES));
  const scalar = (BigInt(`0x${seed.toString('hex')}`) % (ORDER - 1n)) + 1n;
  return new Uint8Array(Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex'));
}

export interface TokenKeys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** @throws for what is no scalar of P-256. */
export function tokenKeys(scalar: Uint8Array): TokenKeys {
  const curve = createECDH('prime256v1');
  curve.setPrivateKey(scalar);
  const point = curve.getPublicKey();
  const text = (part: Uint8Array): string => Buffer.from(part).toString('base64url');
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    d: text(scalar),
    x: text(point.subarray(1, 33)),
    y: text(point.subarray(33)),
  };
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
