import * as fc from 'fast-check';
import t from 'tap';
import { readYaml } from '../../src/config/yaml.ts';

void t.test('a syntax error names its line and column', async (t) => {
  const cases: [source: string, message: string][] = [
    ['a: 1\nb: [1,\nc: 2', 'line 3, column 1: wrong indentation, or a bracket'],
    ['a: 1\na: 2', 'line 2, column 1: the same key a second time'],
    ['a:\n\tb: 1', 'line 2, column 1: a tab'],
    ['a: 1\nb: *c', 'line 2, column 4: an alias without its anchor'],
    ['a: 1\nb: !c d', 'line 2, column 4: an unknown tag'],
    ['a: @b', 'line 1, column 4: a value that starts with a character reserved'],
    ['a: 1\n---\nb: 1', 'line 2, column 1: a second document'],
    ['[a]: 1', 'line 1, column 1: a key that is not a plain text'],
    ['a: "b" c', 'line 1, column 8: something that cannot stand here'],
    ['a: b: c', 'line 1, column 4: a "key: value" where only a value'],
  ];
  for (const [source, message] of cases) {
    const read = readYaml(source, '/etc/edge.yaml');
    t.match(read, { problems: [{ key: '/etc/edge.yaml', message }] }, source);
  }
});

void t.test('what is valid is read as it stands', async (t) => {
  t.strictSame(readYaml('a: &x [1, "b"]\nc: *x\n1: null', ''), {
    value: { a: [1, 'b'], c: [1, 'b'], 1: null },
  });
  t.strictSame(readYaml('', ''), { value: null });
  t.strictSame(readYaml('# nothing\n', ''), { value: null });
  // YAML 1.1 would make these a boolean and a number in base 60.
  t.strictSame(readYaml('a: off\nb: 1:30', ''), { value: { a: 'off', b: '1:30' } });
});

void t.test('aliases cannot grow without bound', async (t) => {
  const levels = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i}, `.repeat(9)}]`);
  t.match(readYaml(['a0: &a0 [x]', ...levels].join('\n'), 'f'), {
    problems: [{ key: 'f', message: /alias/i }],
  });
});

void t.test('no text makes the reader throw', async () => {
  const near = fc.string({
    unit: fc.constantFrom(...Array.from(' \n\t:-[]{}#&*!|>\'"%@`,?ab1')),
    maxLength: 20,
  });
  fc.assert(
    fc.property(fc.oneof(near, fc.string()), (source) => typeof readYaml(source, 'f') === 'object'),
    { numRuns: 2000 },
  );
});
