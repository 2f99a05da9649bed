import type { Config } from '../../config/config.ts';
import { systemClock } from '../../lib/clock.ts';
import { CertificateError } from '../../tls/certificate-error.ts';
import { clientAuthoritiesText, clientAuthorityWarnings } from '../../tls/clients/client-authorities.ts';
import { readPair } from '../../tls/certificate-files.ts';
import {
  describeCertificates,
  describeFurther,
  type CertificateDescription,
} from '../../tls/describe-certificates.ts';
import { oddFurther, readServedCertificates } from '../../tls/serving/served-certificates.ts';

export type Report = (verdict: 'ok' | 'warn' | 'fail', what: string, text: string) => void;

const EXPIRY_WARNING_DAYS = 30;

/** Every pair as a start would read it, and when each certificate ends, the local CA's too. */
export async function checkCertificates({ tls, listen, auth }: Config, report: Report): Promise<void> {
  if (listen.https === null) return;
  checkClientAuthorities(auth, report);
  try {
    if (tls.certificates.length === 0 && (await readPair(tls)) === undefined)
      return report('ok', 'tls', 'no certificate yet: it is made on first start');
    const served = await readServedCertificates(tls, systemClock);
    const { server, authority } = await describeCertificates(tls.cert, systemClock);
    reportExpiry('tls', server, server.fromLocalAuthority && tls.autoRotate ? 'renewed' : 'replace', report);
    if (authority !== undefined && server.fromLocalAuthority)
      reportExpiry('tls CA', authority, 'authority', report);
    for (const [index, { cert }] of tls.certificates.entries())
      reportExpiry(`tls.certificates[${index}]`, await describeFurther(cert, systemClock), 'replace', report);
    for (const warning of oddFurther(served)) report('warn', 'tls.certificates', warning);
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    report('fail', 'tls', error.message);
  }
}

function checkClientAuthorities(auth: Config['auth'], report: Report): void {
  const clients = auth.mode === 'edge' ? auth.edge.clientCertificate : undefined;
  if (clients === undefined) return;
  const now = systemClock.now();
  const warnings = clientAuthorityWarnings(clients, now);
  for (const warning of warnings) report('warn', 'client certificates', warning);
  if (warnings.length === 0) report('ok', 'client certificates', clientAuthoritiesText(clients, now));
}

const ADVICE = {
  renewed: 'the edge renews it by itself',
  replace: 'put a new one there in time',
  authority: 'replace it in time: pierhead certs rotate --ca --prepare',
} as const;

function reportExpiry(
  what: string,
  { file, names, daysLeft }: CertificateDescription,
  advice: keyof typeof ADVICE,
  report: Report,
): void {
  const text = `${file}${names.length === 0 ? '' : ` for ${names.join(', ')}`}`;
  if (daysLeft < 0) return report('fail', what, `${text}: expired; ${ADVICE[advice]}`);
  const left = `${text}, ${daysLeft} days left`;
  if (daysLeft < EXPIRY_WARNING_DAYS) report('warn', what, `${left}: ${ADVICE[advice]}`);
  else report('ok', what, left);
}
