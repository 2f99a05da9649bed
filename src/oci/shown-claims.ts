import { decodeJwt } from 'jose';
import { seconds, type Milliseconds } from '../lib/brand.ts';

const MAX_NAME = 255;

/**
 * Who a caller claims to be: the subject of a JWT, the name of Basic. Nothing here has checked it: it is for the record, and only
 * after the upstream has let the caller in by it.
 */
export function claimedUser(authorization: string | undefined): string | undefined {
  const user = basicUser(authorization) ?? claimsOf(authorization)?.sub;
  return typeof user === 'string' && user !== '' && user.length <= MAX_NAME ? user : undefined;
}

/** When what a caller shows ends by its own word, on the wall clock; undefined when it does not say so. */
export function claimedEnd(authorization: string | undefined): Milliseconds | undefined {
  const end = claimsOf(authorization)?.exp;
  return typeof end === 'number' && Number.isFinite(end) ? seconds(end) : undefined;
}

function claimsOf(authorization: string | undefined): { sub?: unknown; exp?: unknown } | undefined {
  const [, token] = /^bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
  if (token === undefined) return undefined;
  try {
    return decodeJwt(token);
  } catch {
    // Opaque tokens are as good as JWTs.
    return undefined;
  }
}

function basicUser(authorization: string | undefined): string | undefined {
  const [, encoded] = /^basic +(\S+)$/i.exec(authorization ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon > 0 ? text.slice(0, colon) : undefined;
}
