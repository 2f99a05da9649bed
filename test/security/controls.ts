/** Ends of lines apart, as JSON lines have them: whether a terminal or a reader of lines could act on anything in the text. */
export function holdsControls(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x0a) continue;
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x2028 && code <= 0x202e)) return true;
  }
  return false;
}
