/** Of one person; whoever is in more is known by these. */
const MAX_GROUPS = 1000;
const MAX_NAME_LENGTH = 255;
/** An octet in hex, an escaped character, or one that ends nothing; up to the end of the first value. */
const DN_PIECES = /\\([0-9A-Fa-f]{2})|\\(.)|[^\\,+;]/gsuy;

/** A name that a role could have for a user or a group. */
export function parseName(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '' || value.length > MAX_NAME_LENGTH) return undefined;
  return /\p{Cc}/u.test(value) ? undefined : value;
}

/** Groups let do more and never less, so to leave one out is safe: what is no name, and what is too many. */
export function parseGroups(values: readonly unknown[]): readonly string[] {
  const groups = new Set<string>();
  for (const value of values) {
    const name = parseName(value);
    if (name !== undefined) groups.add(name);
    if (groups.size === MAX_GROUPS) break;
  }
  return [...groups];
}

/** The common name that a distinguished name begins with; undefined when it begins with something else. RFC 4514, section 3. */
export function commonNameOf(dn: string): string | undefined {
  const type = /^ *cn *= */i.exec(dn);
  if (type === null || dn[type[0].length] === '#') return undefined;
  const octets: Buffer[] = [];
  let trailing = 0;
  for (const [whole, hex, escaped] of dn.slice(type[0].length).matchAll(DN_PIECES)) {
    octets.push(hex === undefined ? Buffer.from(escaped ?? whole) : Buffer.from(hex, 'hex'));
    trailing = whole === ' ' ? trailing + 1 : 0;
  }
  return Buffer.concat(octets.slice(0, octets.length - trailing)).toString('utf8');
}
