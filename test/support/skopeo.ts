import { part } from './parts.ts';
import { runProcess, type Finished } from './processes.ts';
import { TempFolder } from './temp.ts';

export interface SkopeoOptions {
  /** `false` also lets skopeo fall back to plain HTTP. */
  readonly srcTlsVerify?: boolean;
  readonly destTlsVerify?: boolean;
  /** A folder with `*.crt` of certificate authorities and, for client certificates, `*.cert` and `*.key`. */
  readonly certDir?: string;
  /** `user:password` for the source. */
  readonly srcCredentials?: string;
  /** The same for the destination. */
  readonly destCredentials?: string;
  /** A registries.conf, for mirrors. */
  readonly registriesConf?: string;
  /** All platforms of an index, not only this machine's. */
  readonly all?: boolean;
}

/** `skopeo copy`, byte for byte; both ends as skopeo writes them (`docker://host:port/repo:tag`, `dir:/path`). */
export async function skopeoCopy(from: string, to: string, options: SkopeoOptions = {}): Promise<Finished> {
  // skopeo keeps credentials and its short-name cache in the home folder.
  await using home = new TempFolder('skopeo');
  const args = ['--insecure-policy', '--tmpdir', home.path];
  if (options.registriesConf !== undefined) args.push('--registries-conf', options.registriesConf);
  args.push('copy', '--preserve-digests');
  if (options.all === true) args.push('--all');
  if (options.srcTlsVerify !== undefined) args.push(`--src-tls-verify=${options.srcTlsVerify}`);
  if (options.destTlsVerify !== undefined) args.push(`--dest-tls-verify=${options.destTlsVerify}`);
  if (options.certDir !== undefined) args.push('--src-cert-dir', options.certDir);
  if (options.srcCredentials !== undefined) args.push('--src-creds', options.srcCredentials);
  if (options.destCredentials !== undefined) args.push('--dest-creds', options.destCredentials);
  const env = { PATH: process.env['PATH'], HOME: home.path, XDG_RUNTIME_DIR: home.path };
  return await runProcess(part('skopeo'), [...args, from, to], { env });
}
