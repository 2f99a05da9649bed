import type { Identity } from './caller.ts';

/** Knows people by name and password. */
export interface PasswordSource {
  /** Undefined: not known, or another password; which of them is not told. @throws {SourceUnavailable} when it cannot say. */
  check(user: string, password: string): Promise<Identity | undefined>;
}

/** Knows people by a token that somebody else has signed. */
export interface BearerSource {
  /** Undefined: not a token of this source, or not valid (any more). @throws {SourceUnavailable} when it cannot say. */
  check(token: string): Promise<Identity | undefined>;
}

/** A source of identities cannot answer: nobody new gets in by it. The message is fit for a log and holds no secret. */
export class SourceUnavailable extends Error {
  override readonly name = 'SourceUnavailable';
}
