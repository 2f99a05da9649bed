import { stdSerializers } from 'pino';

const REDACTED = '[redacted]';
const MAX_DEPTH = 8;
const MAX_NAMES = 1000;

/** Names of what may hold a secret, however they are written: `Proxy-Authorization`, `bindPassword`, `x-registry-auth-token`. */
const SECRET_NAME =
  /authori[sz]ation|passw(?:or)?d|passphrase|secret|token|cookie|credential|htpasswd|(?:private|session|sealing|ticket|signing|api)[-_ ]?keys?$|^keypem$/i;

const HEADER_NAME = /^[\w-]+$/;

/** Inside of a text: what stands in an `Authorization` header, and what stands in front of the host of a URL. */
const CREDENTIALS = /\b([Bb]asic|[Bb]earer|BASIC|BEARER) +(?=[a-z]*[A-Z0-9+/=._~-])[A-Za-z0-9+/=._~-]{8,}/g;
const SCHEME_ENDS = ['asic ', 'earer ', 'ASIC ', 'EARER '];
const USER_INFO = /(:\/\/)[^\s/"\\@]{1,200}@/g;

/** The last look at a line: JSON stays JSON, since nothing of what is replaced ends a string. Most lines have nothing to replace. */
export function withoutCredentials(line: string): string {
  const schemes = SCHEME_ENDS.some((end) => line.includes(end));
  const shown = schemes ? line.replace(CREDENTIALS, `$1 ${REDACTED}`) : line;
  return shown.includes('://') ? shown.replace(USER_INFO, `$1${REDACTED}@`) : shown;
}

/**
 * Replaces the values of names that stand for secrets, at whatever depth, also in errors and their causes. Nobody means to
 * log those: this is for the object that came along with one, such as the options of a request in a library's error.
 */
export class Redaction {
  /** Names are few and come again with each line. */
  readonly #known = new Map<string, boolean>();

  /** The same object when there is nothing in it to look into. */
  of(facts: Record<string, unknown>): Record<string, unknown> {
    let flat = true;
    for (const name of Object.keys(facts)) {
      const value = facts[name];
      flat &&= !this.#isSecret(name) && (typeof value !== 'object' || value === null);
    }
    return flat ? facts : this.#members(facts, []);
  }

  #isSecret(name: string): boolean {
    let secret = this.#known.get(name);
    if (secret === undefined) {
      secret = SECRET_NAME.test(name);
      if (this.#known.size < MAX_NAMES) this.#known.set(name, secret);
    }
    return secret;
  }

  #value(value: unknown, above: readonly object[]): unknown {
    if (typeof value !== 'object' || value === null) return value;
    if (above.includes(value)) return '[circular]';
    if (above.length >= MAX_DEPTH) return '[deeper]';
    // Bytes are keys more often than text.
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    const within = [...above, value];
    if (value instanceof Error) return this.#error(value, within);
    if ('toJSON' in value && typeof value.toJSON === 'function')
      return this.#value((value as { toJSON: () => unknown }).toJSON(), within);
    if (Array.isArray(value)) return this.#list(value, within);
    return this.#members(value, within);
  }

  #members(facts: object, within: readonly object[]): Record<string, unknown> {
    const shown: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(facts))
      shown[name] = this.#isSecret(name) && isTold(value) ? REDACTED : this.#value(value, within);
    return shown;
  }

  /** As `rawHeaders` has them: a name, and after it its value. The key of a configuration (`redis.password`) is none. */
  #list(list: readonly unknown[], within: readonly object[]): unknown[] {
    return list.map((value, at) => {
      const before: unknown = list[at - 1];
      const isValue = typeof before === 'string' && HEADER_NAME.test(before) && this.#isSecret(before);
      return isValue ? REDACTED : this.#value(value, within);
    });
  }

  /** The shape that pino gives errors: the texts of causes are in `message` and `stack`. */
  #error(error: Error, within: readonly object[]): Record<string, unknown> {
    const { type, message, stack } = stdSerializers.err(error);
    const told = new Set(['message', 'stack', ...(error.cause instanceof Error ? ['cause'] : [])]);
    const own = Object.fromEntries(Object.entries(error).filter(([name]) => !told.has(name)));
    const errors = error instanceof AggregateError ? { aggregateErrors: error.errors as unknown[] } : {};
    return { type, message, stack, ...this.#members({ ...errors, ...own }, within) };
  }
}

/** Whether a secret is there is no secret. */
function isTold(value: unknown): boolean {
  return value !== undefined && value !== null && typeof value !== 'boolean';
}
