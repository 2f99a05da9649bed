import * as fc from 'fast-check';
import t from 'tap';
import { parseDuration, parseSize } from '../../src/config/units.ts';

const SIZES: Record<string, number> = {
  '': 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
};
const DURATIONS: Record<string, number> = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

const parsers = [
  { name: 'size', parse: parseSize, units: SIZES },
  { name: 'duration', parse: parseDuration, units: DURATIONS },
] as const;

for (const { name, parse, units } of parsers) {
  void t.test(`every whole number with a unit is the ${name} it says`, async () => {
    const unit = fc.constantFrom(...Object.keys(units));
    fc.assert(
      fc.property(fc.maxSafeNat(), unit, (count, unit) => {
        const value = count * (units[unit] ?? NaN);
        return parse(`${count}${unit}`) === (Number.isSafeInteger(value) ? value : undefined);
      }),
    );
    // Products of most large counts are not exact; small ones are always in range.
    fc.assert(
      fc.property(fc.nat(8000), unit, (n, unit) => parse(`${n}${unit}`) === n * (units[unit] ?? NaN)),
    );
  });

  void t.test(`no other text is a ${name}`, async () => {
    const form = new RegExp(`^[0-9]+(${Object.keys(units).join('|')})$`);
    const near = fc.string({
      unit: fc.constantFrom(...Array.from('0129kKMmGgTiBbshd .-+e_\n')),
      maxLength: 8,
    });
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => form.test(text) || parse(text) === undefined),
      { numRuns: 2000 },
    );
  });
}

void t.test('spelled-out examples', async (t) => {
  t.equal(parseSize('512'), 512);
  t.equal(parseSize('8KiB'), 8192);
  t.equal(parseSize('50GiB'), 53_687_091_200);
  t.equal(parseSize('2TB'), 2_000_000_000_000);
  t.equal(parseDuration('100ms'), 100);
  t.equal(parseDuration('60s'), 60_000);
  t.equal(parseDuration('5m'), 300_000);
  t.equal(parseDuration('12h'), 43_200_000);
  t.equal(parseDuration('30d'), 2_592_000_000);
  for (const text of ['', '1.5GiB', '-1', '1 GiB', '1gib', '8191TiB0', '99999999999999999', '8192TiB', '1e3'])
    t.equal(parseSize(text), undefined, text);
  for (const text of ['', '60', '1.5s', '-1s', '1 s', '1S', '1w', '9007199254740992ms', '104249991375d'])
    t.equal(parseDuration(text), undefined, text);
});
