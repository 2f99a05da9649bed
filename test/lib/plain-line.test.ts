import { assert, property, string } from 'fast-check';
import t from 'tap';
import { plainLine } from '../../src/lib/plain-line.ts';

void t.test('a line says the same, in one line that moves no cursor and turns no text around', async (t) => {
  assert(
    property(string({ unit: 'binary' }), (text) => {
      const line = plainLine(`${JSON.stringify({ text })}\n`);
      const plain = !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(line.slice(0, -1)) && line.endsWith('\n');
      return plain && (JSON.parse(line) as { text: string }).text === text.toWellFormed();
    }),
  );
  t.equal(plainLine('{"a":"ä 漢"}'), '{"a":"ä 漢"}', 'letters stay');
  t.equal(plainLine('{"a":"\u202e\u{e0041}\u0085"}'), '{"a":"\\u202e\\udb40\\udc41\\u0085"}');
});
