import { hostname } from 'node:os';
import { CommandRefused, isServed, reloadsOf } from '../../admin/control-client.ts';
import type { Config } from '../../config/config.ts';
import { systemClock } from '../../lib/clock.ts';
import { StoreLayout } from '../../store/layout.ts';
import { clientTrustHint, describeCertificates } from '../../tls/describe-certificates.ts';
import {
  prepareAuthority,
  rotateAuthority,
  rotateCertificates,
  type AuthorityRotation,
} from '../../tls/rotation/rotate-certificates.ts';
import { configOf, type EdgeOptions } from '../edge-options.ts';
import { UsageError } from '../usage-error.ts';
import { showCertificates } from './init-and-show.ts';

export interface RotateOptions extends EdgeOptions {
  /** The local CA, too. */
  readonly ca?: boolean;
  /** With `ca`: only makes the CA that is next. */
  readonly prepare?: boolean;
}

/** Replaces certificates that were made here, and tells the edge that runs. Exit 1 when that does not take them. */
export async function certsRotate(options: RotateOptions): Promise<void> {
  if (options.prepare === true && options.ca !== true)
    throw new UsageError('certs rotate --prepare goes with --ca: pierhead certs rotate --ca --prepare');
  const config = configOf(options);
  const wanted = { ...config.tls, hostname: hostname(), clock: systemClock };
  if (options.prepare === true) return announcePrepared(await prepareAuthority(wanted), config);
  const before = await fingerprintOf(config.tls.cert);
  const authority = options.ca === true ? await rotateAuthority(wanted) : undefined;
  const now = authority?.state ?? (await rotateCertificates(wanted));
  console.log(
    authority === undefined
      ? 'A new key and a new certificate for the server; the CA is the same.'
      : 'A new CA, and a new key and certificate for the server.',
  );
  if (before !== undefined) console.log(`  before  SHA-256 ${before}`);
  console.log(`  now     SHA-256 ${now.fingerprint256}`);
  if (now.warning !== undefined) console.log(now.warning);
  await showCertificates(config.tls);
  console.log('');
  await tellEdge(config);
  if (authority !== undefined) warnOfClients(authority, config);
}

/** @throws {CommandRefused} */
async function tellEdge({ storage }: Config): Promise<void> {
  const { controlSocket } = new StoreLayout(storage.path);
  if (!(await isServed(controlSocket))) {
    console.log(
      `No edge was found on ${storage.path}: one that runs elsewhere takes the files within a minute, or at SIGHUP.`,
    );
    return;
  }
  try {
    await reloadsOf(controlSocket).reloadCertificates();
  } catch (error) {
    if (!(error instanceof CommandRefused)) throw error;
    throw new CommandRefused(
      `the files are replaced, but the edge that runs serves the old ones: ${error.message}`,
      false,
    );
  }
  console.log('The edge that runs serves it from now on; open connections go on.');
}

function warnOfClients({ former, prepared }: AuthorityRotation, config: Config): void {
  if (former === undefined) return;
  const { cert } = config.tls;
  console.log(
    prepared
      ? '\nWARNING: clients that were not given the prepared CA refuse this edge from now on.'
      : '\nWARNING: every client refuses this edge from now on, until it trusts the new CA.',
  );
  console.log(`The former CA is kept as ${former.cert}. To go back to it, stop the edge, move it and its key to ca.crt and
ca.key, and run "pierhead certs rotate". Once every client trusts the new one, delete ${former.key}.\n`);
  console.log(clientTrustHint(cert.replace(/[^/]*$/, 'ca.crt'), addressOf(config)));
}

function announcePrepared(file: string, config: Config): void {
  console.log(`The next CA is ready; nothing else has changed, and nothing is signed by it yet.

  1. Give ${file} to every client, BESIDE the ca.crt that it has: both are to be trusted for a while.
     Where one file is named, put both into it: cat ca.crt next-ca.crt > both.crt
  2. Then run "pierhead certs rotate --ca": it takes this CA into use.
  3. Take the former CA away from the clients.
`);
  console.log(clientTrustHint(file, addressOf(config)));
}

function addressOf({ tls, listen }: Config): string {
  return `${tls.names[0] ?? 'localhost'}:${listen.https?.port ?? 5443}`;
}

async function fingerprintOf(certFile: string): Promise<string | undefined> {
  return await describeCertificates(certFile, systemClock).then(
    ({ server }) => server.fingerprint256,
    () => undefined,
  );
}
