import { createHmac, randomBytes } from 'node:crypto';
import type { HtpasswdEntry } from '../../config/access/access-config.ts';
import { Semaphore } from '../../lib/semaphore.ts';
import type { Identity } from '../caller.ts';
import type { PasswordSource } from '../sources.ts';

/** Whether a password is the one of a bcrypt hash; takes about 0.1 s of a thread. */
export type CompareHash = (password: string, hash: string) => Promise<boolean>;

/** A thread of the pool that also reads files: a second one would be felt by those who pull. */
const CHECKS_AT_ONCE = 1;

/** The users of an htpasswd file. Nothing of a check's time tells whether a name is among them. */
export class HtpasswdPasswords implements PasswordSource {
  readonly #hashes: ReadonlyMap<string, string>;
  /** A hash that no password has, for each entry at the entry's cost. */
  readonly #dummies: readonly string[];
  readonly #dummyKey = randomBytes(32);
  readonly #compare: CompareHash;
  readonly #turns = new Semaphore(CHECKS_AT_ONCE);

  /** @param entries at least one */
  constructor(entries: readonly HtpasswdEntry[], compare: CompareHash = compareBcrypt) {
    // htpasswd and PHP write $2y$ for what everybody else calls $2b$.
    this.#hashes = new Map(entries.map(({ user, hash }) => [user, hash.replace(/^\$2[ay]\$/, '$2b$')]));
    this.#dummies = [...this.#hashes.values()].map((hash) => `${hash.slice(0, 7)}${dummySaltAndHash()}`);
    this.#compare = compare;
  }

  async check(user: string, password: string): Promise<Identity | undefined> {
    const hash = this.#hashes.get(user);
    const release = await this.#turns.acquire();
    try {
      const right = await this.#compare(password, hash ?? this.#dummyFor(user));
      return right && hash !== undefined ? { user, groups: [], by: 'htpasswd' } : undefined;
    } finally {
      release();
    }
  }

  /** Changes when the user's password does; undefined for somebody who is not, or no longer, in the file. */
  versionOf(user: string): string | undefined {
    return this.#hashes.get(user);
  }

  /** Always the same one for a name, so that asking again tells nothing where entries differ in cost. */
  #dummyFor(user: string): string {
    const at =
      createHmac('sha256', this.#dummyKey).update(user).digest().readUInt32BE() % this.#dummies.length;
    return this.#dummies[at] ?? '';
  }
}

/** Loaded with the first password: most edges never see one. */
const compareBcrypt: CompareHash = async (password, hash) => {
  const { default: bcrypt } = await import('bcrypt');
  return await bcrypt.compare(password, hash);
};

/** 16 and 23 octets in bcrypt's base64; the last letter of each holds bits that must be zero. */
function dummySaltAndHash(): string {
  const letters = randomBytes(51).toString('base64').replaceAll('+', '.').slice(0, 51);
  return `${letters.slice(0, 21)}.${letters.slice(21)}.`;
}
