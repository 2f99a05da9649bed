import { hostname } from 'node:os';
import { systemClock } from '../lib/clock.ts';
import {
  clientTrustHint,
  describeCertificates,
  type CertificateDescription,
} from '../tls/describe-certificates.ts';
import { ensureCertificates } from '../tls/ensure-certificates.ts';
import { clientCommand } from './client-config.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';

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
  await show(tls.cert);
  if (state.caFile !== undefined) console.log(`\n${clientTrustHint(state.caFile, clientCommand(options))}`);
}

export async function certsShow(options: EdgeOptions): Promise<void> {
  await show(configOf(options).tls.cert);
}

async function show(certFile: string): Promise<void> {
  const { server, authority } = await describeCertificates(certFile, systemClock);
  for (const description of [server, ...(authority === undefined ? [] : [authority])])
    console.log(`\n${text(description)}`);
}

function text(description: CertificateDescription): string {
  const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
  return [
    description.file,
    `  subject      ${description.subject}`,
    `  issuer       ${description.issuer}`,
    ...(description.names.length > 0 ? [`  names        ${description.names.join(', ')}`] : []),
    `  valid        ${day(description.validFrom)} to ${day(description.expiresAt)} (${description.daysLeft} days left)`,
    `  SHA-256      ${description.fingerprint256}`,
  ].join('\n');
}
