import { z } from 'zod';
import { refusal, refusalOfKind, unknownKeys, type Reading } from './problem.ts';

/** A value with a reader of its own, which also words the problem. */
export function field<T>(read: (input: unknown) => Reading<T>) {
  return z.unknown().transform((input, context): T => {
    const reading = read(input);
    if ('value' in reading) return reading.value;
    context.addIssue({ code: 'custom', message: reading.problem });
    return z.NEVER;
  });
}

/** A value written as text. */
export function textField<T>(parse: (text: string) => T | undefined, takes: string) {
  return field((input) => readText(input, parse, takes));
}

/** A value that YAML may take for a whole number: a size, a port. */
export function scalarField<T>(parse: (text: string) => T | undefined, takes: string) {
  return field((input) => {
    const reading = readText(Number.isSafeInteger(input) ? String(input) : input, parse, takes);
    return 'value' in reading ? reading : { problem: refusal(input, takes) };
  });
}

export function choiceField<const T extends string>(choices: readonly T[]) {
  const parse = (text: string): T | undefined => choices.find((choice) => choice === text);
  return textField(parse, `one of ${choices.join(', ')}`);
}

export function booleanField() {
  return z.boolean({ error: ({ input }) => refusal(input, 'true or false') });
}

export function listOf<T extends z.ZodType>(element: T, takes: string) {
  return z.array(element, { error: ({ input }) => refusal(input, `a list: ${takes}`) });
}

/** A map with these keys and no others. */
export function section<T extends z.core.$ZodShape>(shape: T) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? unknownKeys(issue.keys, known)
        : refusalOfKind(issue.input, `a map with the keys ${known.join(', ')}`),
  });
}

export function readText<T>(
  input: unknown,
  parse: (text: string) => T | undefined,
  takes: string,
): Reading<T> {
  const value = typeof input === 'string' ? parse(input) : undefined;
  return value === undefined ? { problem: refusal(input, takes) } : { value };
}
