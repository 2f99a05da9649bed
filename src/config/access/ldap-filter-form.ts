const LONGEST = 1024;
/** Of RFC 4515: `attr=value`, with `~=`, `>=`, `<=` and `attr:rule:=` as well; what is special in a value is escaped. */
const ITEM = /^[A-Za-z][A-Za-z0-9-]*(?:[~<>]|(?::[A-Za-z0-9.-]+)*:)?=(?:[^()\\\p{Cc}]|\\[0-9A-Fa-f]{2})*$/u;

/** Whether it is one whole search filter. What it accepts ldapts can read. */
export function isLdapFilter(text: string): boolean {
  return text.length <= LONGEST && endOf(text, 0) === text.length;
}

/** Where the filter that begins there ends; undefined when there is none. */
function endOf(text: string, start: number): number | undefined {
  if (text[start] !== '(') return undefined;
  const operator = text[start + 1] ?? '';
  if (!'&|!'.includes(operator) || operator === '') {
    const close = text.indexOf(')', start);
    return close > start && ITEM.test(text.slice(start + 1, close)) ? close + 1 : undefined;
  }
  let at = start + 2;
  let parts = 0;
  while (text[at] === '(') {
    const end = endOf(text, at);
    if (end === undefined) return undefined;
    at = end;
    parts += 1;
  }
  const fits = operator === '!' ? parts === 1 : parts > 0;
  return fits && text[at] === ')' ? at + 1 : undefined;
}
