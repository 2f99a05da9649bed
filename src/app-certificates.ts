import { hostname } from 'node:os';
import type { Config } from './config/config.ts';
import type { Milliseconds } from './lib/brand.ts';
import type { Clock } from './lib/clock.ts';
import type { Log } from './observe/log.ts';
import type { CertificateState } from './tls/describe-certificates.ts';
import { clientAuthorityWarnings } from './tls/clients/client-authorities.ts';
import { ensureCertificates } from './tls/ensure-certificates.ts';
import {
  endingFurther,
  expiriesOf,
  oddFurther,
  readServedCertificates,
  type ServedCertificates,
} from './tls/serving/served-certificates.ts';

/** Makes what is missing, renews what is due, reads all of it and tells of what ends soon. `undefined`: there is no TLS. */
export async function loadCertificates(
  config: Config,
  clock: Clock,
  log: Log,
): Promise<{ readonly state: CertificateState; readonly served: ServedCertificates } | undefined> {
  if (config.listen.https === null) return undefined;
  const state = await ensureCertificates({ ...config.tls, hostname: hostname(), clock });
  const served = await readServedCertificates(config.tls, clock);
  const now = clock.now();
  const clients = config.auth.mode === 'edge' ? config.auth.edge.clientCertificate : undefined;
  const ofClients = clients === undefined ? [] : clientAuthorityWarnings(clients, now);
  for (const warning of [state.warning, ...endingFurther(served, now), ...oddFurther(served), ...ofClients])
    if (warning !== undefined) log.warn(warning);
  if (state.made === 'renewed')
    log.info(
      { fingerprint256: state.fingerprint256, expiresAt: dateOf(state.expiresAt) },
      'certificate renewed',
    );
  return { state, served };
}

/** When each certificate ends, for the log. */
export function expiriesText(served: ServedCertificates): Record<string, string> {
  return Object.fromEntries(expiriesOf(served).map(({ name, at }) => [name, dateOf(at)]));
}

function dateOf(time: Milliseconds): string {
  return new Date(time).toISOString();
}
