/** One challenge of a `WWW-Authenticate` header (RFC 9110 §11.6.1). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string;
  readonly token68: string | undefined;
  /** Names in lower case; of a repeated one the first. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Longer headers are no challenge that anybody sends in good faith. */
const MAX_LENGTH = 8 * 1024;

/**
 * Reads all challenges, repeated headers joined by commas. Never throws; what is malformed is skipped to the next comma.
 * Each character is looked at a fixed number of times: a regular expression for this grammar backtracks.
 */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ');
  return text.length > MAX_LENGTH ? [] : new ChallengeParser(text).parse();
}

interface OpenChallenge extends Challenge {
  token68: string | undefined;
  readonly parameters: Map<string, string>;
}

class ChallengeParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Challenge[] {
    const found: OpenChallenge[] = [];
    while (this.#skip(isSeparator)) {
      const word = this.#take(isTokenCharacter);
      const last = found.at(-1);
      if (word === '') this.#skip(isNoComma);
      else if (!this.#parameterValue(word, last)) found.push(this.#challenge(word));
    }
    return found;
  }

  /** Everything after a scheme up to the next comma: nothing, a token68, or the first parameter. */
  #challenge(scheme: string): OpenChallenge {
    const challenge: OpenChallenge = {
      scheme: scheme.toLowerCase(),
      token68: undefined,
      parameters: new Map(),
    };
    this.#skip(isSpace);
    const start = this.#at;
    const token68 = this.#take(isToken68Character) + this.#take(isEquals);
    this.#skip(isSpace);
    if (this.#at >= this.#text.length || this.#text.charAt(this.#at) === ',') {
      challenge.token68 = token68 === '' ? undefined : token68;
      return challenge;
    }
    this.#at = start;
    const name = this.#take(isTokenCharacter);
    if (!this.#parameterValue(name, challenge)) this.#skip(isNoComma);
    return challenge;
  }

  /** Reads `= value` after a name. False, with nothing read, when there is no `=`: then the name was a scheme. */
  #parameterValue(name: string, challenge: OpenChallenge | undefined): boolean {
    const start = this.#at;
    this.#skip(isSpace);
    if (this.#text.charAt(this.#at) !== '=') {
      this.#at = start;
      return false;
    }
    this.#at += 1;
    this.#skip(isSpace);
    const value = this.#text.charAt(this.#at) === '"' ? this.#quoted() : this.#take(isTokenCharacter);
    this.#skip(isSpace);
    const ended = this.#at >= this.#text.length || this.#text.charAt(this.#at) === ',';
    if (!ended) this.#skip(isNoComma);
    const key = name.toLowerCase();
    if (ended && value !== undefined && challenge !== undefined && !challenge.parameters.has(key)) {
      challenge.parameters.set(key, value);
    }
    return true;
  }

  /** A quoted string with its escapes undone; `undefined` when it does not end. */
  #quoted(): string | undefined {
    let value = '';
    for (this.#at += 1; this.#at < this.#text.length; this.#at += 1) {
      const character = this.#text.charAt(this.#at);
      if (character === '"') {
        this.#at += 1;
        return value;
      }
      if (character === '\\') this.#at += 1;
      value += this.#text.charAt(this.#at);
    }
    return undefined;
  }

  #take(accepts: (character: string) => boolean): string {
    const start = this.#at;
    this.#skip(accepts);
    return this.#text.slice(start, this.#at);
  }

  /** True when something is left. */
  #skip(accepts: (character: string) => boolean): boolean {
    while (this.#at < this.#text.length && accepts(this.#text.charAt(this.#at))) this.#at += 1;
    return this.#at < this.#text.length;
  }
}

const isSpace = (character: string): boolean => character === ' ' || character === '\t';
const isSeparator = (character: string): boolean => isSpace(character) || character === ',';
const isNoComma = (character: string): boolean => character !== ',';
const isEquals = (character: string): boolean => character === '=';
const isTokenCharacter = (character: string): boolean => /^[\w!#$%&'*+.^`|~-]$/.test(character);
const isToken68Character = (character: string): boolean => /^[\w.~+/-]$/.test(character);
