const OTHERS = /[^\x20-\x7e\n]/;
/** Control characters, what sets the direction of text or has no width, and ends of lines that JSON does not know. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * A line of JSON in which nothing is left that a terminal or a line reader might take for something else; it says the same as before.
 * `json` has such characters inside of its strings only, and ends with its one newline, or without.
 */
export function plainLine(json: string): string {
  if (!OTHERS.test(json)) return json;
  return json.replaceAll(UNSAFE, (character) => (character === '\n' ? character : escaped(character)));
}

/** In UTF-16, as JSON has it: two escapes for what is beyond U+FFFF. */
function escaped(character: string): string {
  let text = '';
  for (let at = 0; at < character.length; at += 1)
    text += `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`;
  return text;
}
