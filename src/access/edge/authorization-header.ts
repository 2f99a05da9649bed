/** What an `Authorization` header shows. Holds secrets: never logged. */
export type Shown =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string }
  /** `Basic Og==`, an empty name and password: what podman sends when it has no credentials. */
  | { readonly kind: 'nothing' };

const MAX_USER_LENGTH = 255;
// Both linear: one way to match. RFC 9110 §11.4: token68, in which `=` stands at the end only.
const CREDENTIALS = /^([A-Za-z]+) +([A-Za-z0-9._~+/-]+=*)$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Reads an `Authorization` header (RFC 7617, RFC 6750).
 * Undefined: another scheme, or not well formed: bad base64, bytes that are no UTF-8, control characters, no colon, a password
 * without a name.
 */
export function parseAuthorization(header: string): Shown | undefined {
  const [, scheme = '', credentials = ''] = CREDENTIALS.exec(header) ?? [];
  switch (scheme.toLowerCase()) {
    case 'basic':
      return parseBasic(credentials);
    case 'bearer':
      return { kind: 'token', token: credentials };
    default:
      return undefined;
  }
}

/** The header that {@link parseAuthorization} reads as that name and password. */
export function basicAuthorization(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function parseBasic(credentials: string): Shown | undefined {
  const text = BASE64.test(credentials) ? decodeUtf8(Buffer.from(credentials, 'base64')) : undefined;
  const colon = text?.indexOf(':') ?? -1;
  if (text === undefined || colon === -1 || /\p{Cc}/u.test(text)) return undefined;
  const [user, password] = [text.slice(0, colon), text.slice(colon + 1)];
  if (user === '' && password === '') return { kind: 'nothing' };
  if (user === '' || user.length > MAX_USER_LENGTH) return undefined;
  return { kind: 'password', user, password };
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // Its one failure: bytes that are no UTF-8.
    return undefined;
  }
}
