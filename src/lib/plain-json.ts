/**
 * What JSON leaves as it is and a terminal or a line reader might take for something else: DEL and the C1 controls (U+009B begins a
 * sequence as ESC [ does), the line ends of Unicode, what turns the writing direction.
 */
const UNSAFE = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** The same JSON with those escaped; they stand in no other place than in texts. */
export function plainJson(json: string): string {
  return json.replaceAll(
    UNSAFE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
