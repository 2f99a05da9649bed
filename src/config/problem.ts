import type { z } from 'zod';

/** One thing wrong: `key` is a dotted path (`upstreams[1].url`), a flag (`--http`) or the file itself. */
export interface Problem {
  readonly key: string;
  readonly message: string;
}

/** A value read from outside, or why it is refused. The reason never holds a secret. */
export type Reading<T> = { readonly value: T } | { readonly problem: string };

/** The configuration cannot be used. `message` lists every problem, a line each, fit for a terminal. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], file?: string) {
    const of = file === undefined ? '' : ` in ${printable(file)}`;
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    const lines = problems.map(({ key, message }) => `  ${key}: ${message}`);
    super([`The configuration${of} has ${count}:`, ...lines].join('\n'));
    this.problems = problems;
  }
}

/** What it got and what it takes. */
export function refusal(input: unknown, takes: string): string {
  return input === undefined ? `is missing; takes ${takes}` : `got ${describe(input)}; takes ${takes}`;
}

/** As {@link refusal}, for a key whose value may hold a secret in the wrong place: only its kind is named. */
export function refusalOfKind(input: unknown, takes: string): string {
  return input === undefined ? refusal(input, takes) : `got ${kindOf(input)}; takes ${takes}`;
}

/** The issues of one schema run as problems, an unknown key being a problem each. */
export function problemsOf(issues: readonly z.core.$ZodIssue[], root: string): Problem[] {
  return issues.flatMap((issue) => {
    const key = keyOf(issue.path, root);
    if (issue.code !== 'unrecognized_keys') return [{ key, message: issue.message }];
    const messages = issue.message.split('\n');
    // `credentials: { ada, secret }` is a map with the secret for a key: it is not repeated.
    const secret = issue.path.at(-1) === 'credentials';
    return issue.keys.map((name, index) =>
      secret
        ? { key, message: `holds something that ${messages[index]}` }
        : { key: keyOf([...issue.path, name], root), message: `${messages[index]}` },
    );
  });
}

/** One line for each of `unknown`, as {@link problemsOf} takes them apart. */
export function unknownKeys(unknown: readonly string[], known: readonly string[]): string {
  return unknown
    .map((name) => {
      const close = closest(name, known);
      return `is not a known key; ${close === undefined ? `takes ${known.join(', ')}` : `did you mean ${close}?`}`;
    })
    .join('\n');
}

/** Text from a file or a command line, safe to print: no control character reaches the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

const LONGEST_SHOWN = 60;

function describe(input: unknown): string {
  if (typeof input === 'string') return `"${printable(shortened(withoutSecrets(input)))}"`;
  if (input === null || typeof input === 'number' || typeof input === 'boolean') return String(input);
  return kindOf(input);
}

function kindOf(input: unknown): string {
  if (input === null) return 'null';
  if (Array.isArray(input)) return 'a list';
  if (typeof input === 'object') return 'a map';
  return typeof input === 'string' ? 'a text' : `a ${typeof input}`;
}

/** A URL that is refused may hold a password before its `@` or a token in its query, however broken it is. */
function withoutSecrets(text: string): string {
  return text.replace(/^([a-z]+:\/\/)?.*@/is, '$1***@').replace(/([?#]).+$/s, '$1***');
}

function shortened(text: string): string {
  return text.length <= LONGEST_SHOWN ? text : `${text.slice(0, LONGEST_SHOWN)}...`;
}

function keyOf(path: readonly PropertyKey[], root: string): string {
  let key = '';
  for (const part of path) {
    if (typeof part === 'number') key += `[${part}]`;
    else if (/^[\w-]+$/.test(String(part))) key += key === '' ? String(part) : `.${String(part)}`;
    else key += `["${printable(shortened(String(part)))}"]`;
  }
  return key === '' ? root : key;
}

/** The known key that a typing error most likely meant: at most two edits away, and fewer than half its length. */
function closest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = 3;
  for (const candidate of known) {
    const edits = editDistance(name.toLowerCase().slice(0, LONGEST_SHOWN), candidate.toLowerCase());
    if (edits < least && edits * 2 < candidate.length) [best, least] = [candidate, edits];
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(from: string, to: string): number {
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      const swap = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const swapped = swap ? (before[j - 2] ?? 0) + 1 : Infinity;
      next.push(Math.min(replaced, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row[to.length] ?? 0;
}
