import { lookup as systemLookup } from 'node:dns';
import { Agent as PlainAgent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import { checkedLookup, classifyAddress, HomeAddress } from './address-policy.ts';
import { trusting } from './trusting.ts';

/**
 * Short: a push is not repeated, so it must not meet a connection that the upstream is about to close. Long enough for
 * the requests of one upload to follow each other on it.
 */
const IDLE_MS = 4000;
const MAX_CONNECTIONS = 128;

/** Connections for pushes to the upstream at `url`, under the rules that hold for pulls: its authorities, and no rebinding. */
export function pushAgent(url: URL, ca: string | undefined): PlainAgent {
  const home = new HomeAddress(url.hostname, classifyAddress);
  const options = {
    keepAlive: true,
    timeout: IDLE_MS,
    maxSockets: MAX_CONNECTIONS,
    lookup: checkedLookup(systemLookup, (addresses) => home.refusal(addresses)),
  };
  if (url.protocol === 'http:') return new PlainAgent(options);
  return new SecureAgent({
    ...options,
    minVersion: 'TLSv1.2',
    ...(ca !== undefined && { secureContext: trusting(ca) }),
  });
}
