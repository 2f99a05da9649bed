import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { systemClock } from '../../lib/clock.ts';
import { authorityFiles, readAuthority } from '../../tls/certificate-authority.ts';
import { CertificateError } from '../../tls/certificate-error.ts';
import { installPair } from '../../tls/certificate-files.ts';
import { issueClientCertificate } from '../../tls/leaf-certificate.ts';
import { configOf, type EdgeOptions } from '../edge-options.ts';
import { UsageError } from '../usage-error.ts';

export interface ClientOptions extends EdgeOptions {
  /** The folder that the files go into. */
  readonly out?: string;
  readonly days?: string;
}

const LONGEST_DAYS = 3650;

/** A certificate of the local CA by which a client says who it is, in files as docker names them. */
export async function certsClient(name: string, options: ClientOptions): Promise<void> {
  const days = Number(options.days ?? '365');
  if (!Number.isSafeInteger(days) || days < 1 || days > LONGEST_DAYS)
    throw new UsageError(`--days takes a whole number from 1 to ${LONGEST_DAYS}`);
  const { tls } = configOf(options);
  const files = authorityFiles(tls.cert);
  const authority = await readAuthority(files, systemClock);
  if (authority === undefined)
    throw new CertificateError(
      `${files.cert} is not there: "pierhead certs init" makes a local CA; one of your own signs for itself.`,
    );
  const folder = resolve(options.out ?? '.');
  const pair = { cert: join(folder, 'client.cert'), key: join(folder, 'client.key') };
  for (const file of [pair.cert, pair.key])
    if (await isThere(file))
      throw new CertificateError(`${file} is there already: name another folder with --out.`);
  await installPair(pair, issueClientCertificate(authority, name, systemClock, { days }));
  console.log(`${pair.cert} and ${pair.key}: for ${name}, ${days} days.

The edge takes it with
  auth: { mode: edge, edge: { clientCertificate: { ca: ${files.cert} } } }
docker shows it when both stand in /etc/docker/certs.d/HOST:PORT/, beside ${files.cert} as ca.crt.
Whoever has ${pair.key} is ${name}.`);
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
