import { lookup as systemLookup } from 'node:dns';
import { Agent as PlainAgent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import { checkedLookup, classifyAddress, HomeAddress } from './address-policy.ts';
import { passedChallenges } from './callers/passed-challenges.ts';
import { trusting } from './trusting.ts';

/**
 * Short: a push is not repeated, so it must not meet a connection that the upstream is about to close. Long enough for
 * the requests of one upload to follow each other on it.
 */
const IDLE_MS = 4000;
const MAX_CONNECTIONS = 128;

export interface PushDoor {
  readonly agent: PlainAgent;
  /**
   * Of the upstream's `WWW-Authenticate`, what a client may be told.
   * @throws {UpstreamError} as {@link passedChallenges}
   */
  readonly challenges: (header: string | readonly string[] | undefined) => readonly string[];
}

/**
 * For pushes to the upstream at `url`, under the rules that hold for pulls: its authorities, no rebinding, and no password of a
 * client's taken elsewhere.
 */
export function pushDoor(url: URL, ca: string | undefined, authHosts: readonly string[]): PushDoor {
  const home = new HomeAddress(url.hostname, classifyAddress);
  const options = {
    keepAlive: true,
    timeout: IDLE_MS,
    maxSockets: MAX_CONNECTIONS,
    lookup: checkedLookup(systemLookup, (addresses) => home.refusal(addresses)),
  };
  const agent =
    url.protocol === 'http:'
      ? new PlainAgent(options)
      : new SecureAgent({
          ...options,
          minVersion: 'TLSv1.2',
          ...(ca !== undefined && { secureContext: trusting(ca) }),
        });
  const rules = {
    home: url,
    homeClass: () => home.class,
    classify: classifyAddress,
    authHosts: new Set(authHosts.map((host) => host.toLowerCase())),
    redirectHosts: new Set<string>(),
  };
  return { agent, challenges: (header) => passedChallenges(header, rules) };
}
