import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProcess } from './processes.ts';

export interface SelfSigned {
  readonly key: Buffer;
  readonly cert: Buffer;
  readonly certFile: string;
}

/** A certificate that is its own authority, made by openssl: for servers other than the edge. */
export async function selfSigned(dir: string, subjectAltName = 'IP:127.0.0.1'): Promise<SelfSigned> {
  const keyFile = join(dir, 'self-signed.key');
  const certFile = join(dir, 'self-signed.crt');
  const fixed =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=central -addext';
  const args = [
    ...fixed.split(' '),
    `subjectAltName=${subjectAltName}`,
    '-keyout',
    keyFile,
    '-out',
    certFile,
  ];
  const { code, stderr } = await runProcess('openssl', args);
  if (code !== 0) throw new Error(`openssl: ${stderr}`);
  const [key, cert] = await Promise.all([readFile(keyFile), readFile(certFile)]);
  return { key, cert, certFile };
}
