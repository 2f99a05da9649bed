/**
 * RFC 4515, section 3: what has a meaning in a filter. Everything else has to stay as it is, above all what is not ASCII: ldapts
 * makes a character of each escaped octet, so that an escaped UTF-8 sequence would become another text.
 */
export function escapeFilterValue(value: string): string {
  return value.replace(
    // oxlint-disable-next-line no-control-regex
    /[\0*()\\]/g,
    (character) => `\\${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** `{user}` and `{dn}` of a configured filter, in one pass: a user who is called `{dn}` stays that. */
export function fillFilter(
  template: string,
  values: { readonly user: string; readonly dn?: string },
): string {
  return template.replace(/\{(user|dn)\}/g, (_, name: string) =>
    escapeFilterValue(name === 'user' ? values.user : (values.dn ?? '')),
  );
}

/** The attribute that the name is compared with, the first where there are several: the entry's value of it is who they are. */
export function userAttributeOf(template: string): string | undefined {
  return /\(([A-Za-z][A-Za-z0-9-]*)=[^()]*\{user\}/.exec(template)?.[1];
}
