import { readFile } from 'node:fs/promises';
import { systemClock } from '../src/lib/clock.ts';
import { ensureCertificates } from '../src/tls/ensure-certificates.ts';
import type { TempFolder } from '../test/support/temp.ts';

export interface Certificate {
  /** Paths of the PEM files. */
  readonly cert: string;
  readonly key: string;
  /** What a client has to trust. */
  readonly ca: string;
}

/** As the edge makes them for itself (ECDSA P-256): all contenders serve it, so that a handshake costs each the same. */
export async function makeCertificate(folder: TempFolder): Promise<Certificate> {
  const cert = folder.join('server.crt');
  const key = folder.join('server.key');
  await ensureCertificates({ cert, key, names: ['localhost'], hostname: 'localhost', clock: systemClock });
  return { cert, key, ca: await readFile(folder.join('ca.crt'), 'utf8') };
}
