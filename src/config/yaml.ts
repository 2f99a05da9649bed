import { isAlias, LineCounter, parseDocument, visit, type Document, type ErrorCode } from 'yaml';
import type { Problem } from './problem.ts';

// Sentences of our own, because the parser's quote the text at fault, which may be half of a password.
const SYNTAX: Readonly<Partial<Record<ErrorCode, string>>> = {
  BAD_ALIAS: 'an alias without a name',
  BAD_DQ_ESCAPE: 'an unknown escape in a double-quoted text; single quotes keep a backslash as it is',
  BAD_INDENT: 'wrong indentation, or a bracket, brace or quote that is not closed',
  BAD_SCALAR_START: 'a value that starts with a character reserved by YAML; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a "key: value" where only a value can stand; put the value in quotes',
  DUPLICATE_KEY: 'the same key a second time',
  MISSING_CHAR: 'a missing comma, colon, space or closing quote',
  MULTILINE_IMPLICIT_KEY: 'a key over several lines; is a colon or a quote missing above?',
  MULTIPLE_DOCS: 'a second document; the file holds one',
  NON_STRING_KEY: 'a key that is not a plain text',
  TAB_AS_INDENT: 'a tab used as indentation; use spaces',
  TAG_RESOLVE_FAILED: 'an unknown tag; a text that starts with ! needs quotes',
  UNEXPECTED_TOKEN: 'something that cannot stand here; a text with special characters needs quotes',
};
const ANY_OTHER = 'not valid YAML';

/** The content of one YAML document; every syntax problem is keyed by `file` and names its line and column. */
export function readYaml(source: string, file: string): { value: unknown } | { problems: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(source, { prettyErrors: false, stringKeys: true, lineCounter: lines });
  const at = (offset: number, message: string): Problem => {
    const { line, col } = lines.linePos(offset);
    return { key: file, message: `line ${line}, column ${col}: ${message}` };
  };
  // An unknown tag is only a warning to the parser, yet it changes the text that is left.
  const problems = [...document.errors, ...document.warnings].map(({ pos, code }) =>
    at(pos[0], SYNTAX[code] ?? ANY_OTHER),
  );
  if (problems.length === 0) {
    const offset = unresolvedAlias(document);
    if (offset !== undefined)
      problems.push(at(offset, 'an alias without its anchor; a text that starts with * needs quotes'));
  }
  if (problems.length > 0) return { problems };
  try {
    return { value: document.toJS() as unknown };
  } catch (error) {
    // Only its limit on aliases is left to refuse; the message of that quotes nothing.
    const reason = error instanceof Error ? error.message : ANY_OTHER;
    return { problems: [{ key: file, message: reason }] };
  }
}

function unresolvedAlias(document: Document): number | undefined {
  let offset: number | undefined;
  visit(document, (_key, node) => {
    if (!isAlias(node) || node.resolve(document) !== undefined) return undefined;
    offset = node.range?.[0] ?? 0;
    return visit.BREAK;
  });
  return offset;
}
