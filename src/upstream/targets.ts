import { literalAddress, mayReach, type AddressClass, type Classify } from './address-policy.ts';
import { UpstreamError } from './upstream.ts';

/** What an upstream may send us to. */
export interface TargetRules {
  /** The URL of the upstream itself. */
  readonly home: URL;
  readonly homeClass: () => AddressClass;
  readonly classify: Classify;
  /** Hosts, with or without a port, that may hold the token realm besides the upstream's own. */
  readonly authHosts: ReadonlySet<string>;
  /** Hosts that redirects may lead to whatever their address. */
  readonly redirectHosts: ReadonlySet<string>;
}

/** Docker Hub's realm is on another host, as everybody's is configured for it. */
const BUILT_IN_REALMS: Readonly<Record<string, string>> = { 'registry-1.docker.io': 'auth.docker.io' };

/**
 * Where a `Location` leads from `from`, if it may. Names are not resolved here: the pool's lookup checks what they
 * resolve to.
 * @throws {UpstreamError} `protocol`
 */
export function redirectTarget(location: string | undefined, from: URL, rules: TargetRules): URL {
  const target = location === undefined ? null : URL.parse(location, from.href);
  if (target === null || !isWeb(target)) throw refused(`${from.origin} redirects to no usable URL`);
  const homely = rules.home.protocol === 'http:' || rules.homeClass() !== 'public';
  if (from.protocol === 'https:' && target.protocol === 'http:' && !homely) {
    throw refused(`redirect from https to ${target.origin}`);
  }
  if (!mayRedirectAnywhere(target, rules)) checkAddress(target, rules, 'redirect');
  return target;
}

/** True for a host that the operator allowed: its address is not looked at. */
export function mayRedirectAnywhere(target: URL, rules: TargetRules): boolean {
  return listed(rules.redirectHosts, target);
}

/**
 * The token service that a challenge names, if credentials may go there (CVE-2026-33540).
 * @throws {UpstreamError} `protocol`
 */
export function realmTarget(realm: string, rules: TargetRules): URL {
  const target = URL.parse(realm);
  if (target === null || !isWeb(target)) throw refused(`${rules.home.origin} names a realm that is no URL`);
  const own = target.hostname === rules.home.hostname;
  if (!own && BUILT_IN_REALMS[rules.home.hostname] !== target.hostname && !listed(rules.authHosts, target)) {
    throw refused(`token realm ${target.origin} is not on an allowed host (authHosts)`);
  }
  if (target.protocol === 'http:' && rules.home.protocol === 'https:') {
    throw refused(`token realm ${target.origin} is not https`);
  }
  checkAddress(target, rules, 'token realm');
  return target;
}

function checkAddress(target: URL, rules: TargetRules, what: string): void {
  const address = literalAddress(target.hostname);
  if (address === undefined) return;
  const kind = rules.classify(address);
  if (!mayReach(kind, rules.homeClass())) throw refused(`${what} to ${target.origin}, a ${kind} address`);
}

function isWeb(url: URL): boolean {
  return url.protocol === 'https:' || url.protocol === 'http:';
}

function listed(hosts: ReadonlySet<string>, url: URL): boolean {
  return hosts.has(url.hostname) || hosts.has(url.host);
}

function refused(message: string): UpstreamError {
  return new UpstreamError('protocol', message);
}
