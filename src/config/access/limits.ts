import { bytes, type Bytes } from '../../lib/brand.ts';
import { DEFAULT_LIMITS } from '../defaults.ts';
import { scalarField, section } from '../fields.ts';
import { parseSize, SIZE_FORM } from '../units.ts';

const MAX_COUNT = 10_000_000;
const MAX_RATE: Bytes = bytes(1024 ** 2);

export function limitsSchema() {
  return section({
    requestsPerSecond: count().default(DEFAULT_LIMITS.requestsPerSecond),
    burst: count().default(DEFAULT_LIMITS.burst),
    connectionsPerAddress: count().default(DEFAULT_LIMITS.connectionsPerAddress),
    connections: count().default(DEFAULT_LIMITS.connections),
    minRate: scalarField((text) => {
      const size = parseSize(text);
      return size !== undefined && size <= MAX_RATE ? size : undefined;
    }, `${SIZE_FORM}, at most 1MiB`).default(DEFAULT_LIMITS.minRate),
    fillsPerCaller: count().default(DEFAULT_LIMITS.fillsPerCaller),
    unknownPerSecond: count().default(DEFAULT_LIMITS.unknownPerSecond),
  });
}

function count() {
  return scalarField((text) => {
    const value = /^[0-9]{1,8}$/.test(text) ? Number(text) : 0;
    return value >= 1 && value <= MAX_COUNT ? value : undefined;
  }, `a whole number from 1 to ${MAX_COUNT}`);
}
