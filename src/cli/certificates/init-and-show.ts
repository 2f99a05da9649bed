import { hostname } from 'node:os';
import type { Config } from '../../config/config.ts';
import { systemClock } from '../../lib/clock.ts';
import {
  clientTrustHint,
  describeCertificates,
  describeFurther,
  type CertificateDescription,
} from '../../tls/describe-certificates.ts';
import { ensureCertificates } from '../../tls/ensure-certificates.ts';
import { clientCommand } from '../client-config.ts';
import { configOf, type EdgeOptions } from '../edge-options.ts';

const DONE = {
  'ca-and-certificate': 'Made a local CA and a server certificate.',
  certificate: 'Made a server certificate.',
  renewed: 'Renewed the server certificate.',
  none: 'The certificates are there already; nothing was changed.',
} as const;

export async function certsInit(options: EdgeOptions): Promise<void> {
  const { tls } = configOf(options);
  const state = await ensureCertificates({ ...tls, hostname: hostname(), clock: systemClock });
  console.log(DONE[state.made]);
  if (state.warning !== undefined) console.log(state.warning);
  await showCertificates(tls);
  if (state.caFile !== undefined) console.log(`\n${clientTrustHint(state.caFile, clientCommand(options))}`);
}

export async function certsShow(options: EdgeOptions): Promise<void> {
  await showCertificates(configOf(options).tls);
}

/** The server's certificate, the local CA's, and the further ones. */
export async function showCertificates({ cert, certificates }: Config['tls']): Promise<void> {
  const { server, authority } = await describeCertificates(cert, systemClock);
  const further = await Promise.all(certificates.map((pair) => describeFurther(pair.cert, systemClock)));
  for (const description of [server, ...(authority === undefined ? [] : [authority]), ...further])
    console.log(`\n${text(description)}`);
}

function text(description: CertificateDescription): string {
  const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
  return [
    description.file,
    `  subject      ${description.subject}`,
    `  issuer       ${description.issuer}`,
    ...(description.names.length > 0 ? [`  names        ${description.names.join(', ')}`] : []),
    `  valid        ${day(description.validFrom)} to ${day(description.expiresAt)} (${daysText(description.daysLeft)})`,
    `  SHA-256      ${description.fingerprint256}`,
  ].join('\n');
}

function daysText(daysLeft: number): string {
  return daysLeft < 0 ? `EXPIRED ${-daysLeft} days ago` : `${daysLeft} days left`;
}
