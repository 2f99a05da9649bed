import { isIP } from 'node:net';
import { canonicalAddress } from '../ip-rules.ts';

/** A hop that a proxy tells of; undefined where it names none (`unknown`, `_hidden`), or writes what is no address. */
export type Hop = string | undefined;

/** `X-Forwarded-For`, nearest to the client first. Ports are taken off: `192.0.2.1:80`, `[2001:db8::1]:80`. */
export function forwardedForHops(value: string): readonly Hop[] {
  return value.split(',').map((hop) => hopAddress(hop.trim()));
}

/**
 * `Forwarded` (RFC 7239 §4), nearest to the client first: `for` of each element. Undefined for what the grammar does not make. One
 * pass, character by character: a quoted comma must not make an element.
 */
export function forwardedHops(value: string): readonly Hop[] | undefined {
  const hops: Hop[] = [];
  let at = 0;
  while (at <= value.length) {
    const element = readElement(value, at);
    if (element === undefined) return undefined;
    hops.push(element.for === undefined ? undefined : hopAddress(element.for));
    at = element.end + 1;
  }
  return hops;
}

interface Read {
  readonly text: string;
  /** Where it ends. */
  readonly end: number;
}

/** Pairs up to a comma or the end. */
function readElement(value: string, start: number): { for: string | undefined; end: number } | undefined {
  const seen = new Set<string>();
  let forwardedFor: string | undefined;
  let at = start;
  for (;;) {
    at = afterSpace(value, at);
    const name = readToken(value, at);
    if (name.text === '' || value[name.end] !== '=') return undefined;
    const read = readValue(value, name.end + 1);
    const key = name.text.toLowerCase();
    if (read === undefined || seen.has(key)) return undefined;
    seen.add(key);
    if (key === 'for') forwardedFor = read.text;
    at = afterSpace(value, read.end);
    if (at === value.length || value[at] === ',') return { for: forwardedFor, end: at };
    if (value[at] !== ';') return undefined;
    at += 1;
  }
}

/** A token, or a quoted string without its quotes (RFC 9110 §5.6.4). */
function readValue(value: string, start: number): Read | undefined {
  if (value[start] !== '"') {
    const token = readToken(value, start);
    return token.text === '' ? undefined : token;
  }
  let text = '';
  for (let at = start + 1; at < value.length; at++) {
    const character = value[at];
    if (character === '"') return { text, end: at + 1 };
    if (character !== '\\') text += character;
    else text += value[++at] ?? '';
  }
  return undefined;
}

const TOKEN_CHARACTER = /^[A-Za-z0-9!#$%&'*+.^_`|~-]$/;

function readToken(value: string, start: number): Read {
  let end = start;
  while (end < value.length && TOKEN_CHARACTER.test(value.charAt(end))) end += 1;
  return { text: value.slice(start, end), end };
}

function afterSpace(value: string, start: number): number {
  let at = start;
  while (value[at] === ' ' || value[at] === '\t') at += 1;
  return at;
}

/** ADDRESS, ADDRESS:PORT (IPv4) or [ADDRESS]:PORT; some write an IPv6 address without brackets. */
function hopAddress(node: string): Hop {
  // The longest address in brackets, with a port and a zone, is far below this.
  if (node.length > MAX_NODE) return undefined;
  const bracketed = /^\[([^\]]*)\](?::[0-9]{1,5})?$/.exec(node)?.[1];
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? canonicalAddress(bracketed) : undefined;
  const address = isIP(node) === 0 ? (/^([0-9.]+):[0-9]{1,5}$/.exec(node)?.[1] ?? '') : node;
  return isIP(address) === 0 ? undefined : canonicalAddress(address);
}

const MAX_NODE = 128;
