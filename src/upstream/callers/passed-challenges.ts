import { parseChallenges, type Challenge } from '../challenge.ts';
import { realmTarget, type TargetRules } from '../targets.ts';
import { UpstreamError } from '../upstream.ts';

/** What the token protocol and RFC 6750 §3 know, and clients look at. */
const BEARER_PARAMETERS = ['service', 'scope', 'error', 'error_description'];
const MAX_VALUE = 4096;
const DEFAULT_REALM = 'registry';

/**
 * An upstream's challenges as this edge may hand them to its clients: made anew from what was understood of them. Clients
 * take their passwords to the realm that stands there, so it is judged as for the edge's own token requests: an upstream
 * cannot send them where it could not send the edge. Empty when the upstream says nothing of how to identify.
 * @throws {UpstreamError} `protocol` when it does, and none of it can go on.
 */
export function passedChallenges(
  header: string | readonly string[] | undefined,
  rules: TargetRules,
): string[] {
  const passed: string[] = [];
  let refused: UpstreamError | undefined;
  for (const challenge of parseChallenges(header)) {
    try {
      const value = rebuilt(challenge, rules);
      if (value !== undefined) passed.push(value);
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      refused ??= error;
    }
  }
  if (passed.length === 0 && refused !== undefined) throw refused;
  return passed;
}

/** Other schemes (Negotiate) are bound to a connection, and this one ends here. */
function rebuilt({ scheme, parameters }: Challenge, rules: TargetRules): string | undefined {
  const realm = parameters.get('realm');
  if (scheme === 'basic') return `Basic ${parameter('realm', realm ?? '') ?? `realm="${DEFAULT_REALM}"`}`;
  if (scheme !== 'bearer' || realm === undefined) return undefined;
  const target = realmTarget(realm, rules);
  target.username = '';
  target.password = '';
  const others = BEARER_PARAMETERS.flatMap((name) => parameter(name, parameters.get(name) ?? '') ?? []);
  return `Bearer ${[`realm="${target.href}"`, ...others].join(',')}`;
}

function parameter(name: string, value: string): string | undefined {
  if (value.length > MAX_VALUE || !/^[\x20-\x7e]+$/.test(value)) return undefined;
  return `${name}="${value.replaceAll(/["\\]/g, '\\$&')}"`;
}
