import { bytes, ms, type Bytes, type Milliseconds } from '../lib/brand.ts';

const SIZE = /^([0-9]{1,16})(KiB|MiB|GiB|TiB|KB|MB|GB|TB)?$/;
const SIZE_UNITS: ReadonlyMap<string | undefined, number> = new Map([
  [undefined, 1],
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
  ['TiB', 1024 ** 4],
  ['KB', 1000],
  ['MB', 1000 ** 2],
  ['GB', 1000 ** 3],
  ['TB', 1000 ** 4],
]);
export const SIZE_FORM = 'a size such as 512 (bytes), 8KiB, 50GiB or 2TB';

const DURATION = /^([0-9]{1,16})(ms|s|m|h|d)$/;
const DURATION_UNITS: ReadonlyMap<string | undefined, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);
export const DURATION_FORM = 'a duration with its unit, such as 100ms, 60s, 5m, 12h or 30d';

/** `undefined` for anything that is not a whole number with a known unit, or that a number cannot hold exactly. */
export function parseSize(text: string): Bytes | undefined {
  const size = scaled(SIZE.exec(text), SIZE_UNITS);
  return size === undefined ? undefined : bytes(size);
}

/** `undefined` as in {@link parseSize}; the unit is required. */
export function parseDuration(text: string): Milliseconds | undefined {
  const duration = scaled(DURATION.exec(text), DURATION_UNITS);
  return duration === undefined ? undefined : ms(duration);
}

function scaled(
  match: RegExpExecArray | null,
  units: ReadonlyMap<string | undefined, number>,
): number | undefined {
  const unit = units.get(match?.[2]);
  if (match === null || unit === undefined) return undefined;
  const value = Number(match[1]) * unit;
  return Number.isSafeInteger(value) ? value : undefined;
}
