import type { IncomingMessage } from 'node:http';
import { isIPv4 } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Why a request is not looked at further; `reason` says what to send instead. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

export interface GuardRules {
  /** Names besides those of this host by which a listener is reached that asks nobody who they are. Undefined: it asks, and any will do. */
  readonly names: readonly string[] | undefined;
  readonly changes: boolean;
}

/** Said twice, they may mean one thing here and another to whoever stands in front. */
const SINGLE = ['host', 'origin', 'authorization', 'content-type', 'content-length', 'sec-fetch-site'];
const JSON_TYPE = /^application\/json(?: *; *charset="?utf-8"?)?$/i;

/**
 * Keeps the pages of other sites from asking here through somebody's browser, which may be on this host, or may send along
 * a password or a client certificate that it knows. A form cannot send JSON, a script of another site cannot without asking
 * first (and is not told yes), a browser says where a request comes from, and a name of the attacker's that is made to lead
 * to this host is not a name of this host.
 */
export function browserRefusal(request: IncomingMessage, rules: GuardRules): Refusal | undefined {
  const { headers, rawHeaders } = request;
  const names = rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
  const doubled = SINGLE.find((name) => names.indexOf(name) !== names.lastIndexOf(name));
  if (doubled !== undefined) return { status: 400, reason: `send one ${doubled} header` };
  const { host, origin, 'sec-fetch-site': site } = headers;
  if (host === undefined) return { status: 400, reason: 'send a host header' };
  if (rules.names !== undefined && !isNameHere(host, rules.names))
    return {
      status: 421,
      reason: 'ask for localhost, 127.0.0.1, [::1] or one of tls.names: another host was meant',
    };
  const scheme = request.socket instanceof TLSSocket ? 'https' : 'http';
  if (origin !== undefined && origin.toLowerCase() !== `${scheme}://${host.toLowerCase()}`)
    return { status: 403, reason: 'another site may not ask here (origin)' };
  // `none` is an address that a person typed, which is never a POST.
  if (site !== undefined && site !== 'same-origin' && (site !== 'none' || rules.changes))
    return { status: 403, reason: 'another site may not ask here (sec-fetch-site)' };
  if (rules.changes && !JSON_TYPE.test(headers['content-type'] ?? ''))
    return { status: 403, reason: 'send content-type: application/json' };
  return undefined;
}

function isNameHere(host: string, names: readonly string[]): boolean {
  const name = /^(\[[^\]]*\]|[^:]*)(?::[0-9]*)?$/.exec(host.toLowerCase())?.[1] ?? '';
  if (name === 'localhost' || name === '[::1]') return true;
  if (names.includes(name.replace(/^\[(.*)\]$/, '$1'))) return true;
  return isIPv4(name) && name.startsWith('127.');
}
