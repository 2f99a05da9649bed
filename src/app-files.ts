import { isAbsolute } from 'node:path';
import type { Config } from './config/config.ts';
import { fileFindings, type FileFinding, type TrustedFile } from './config/file-trust.ts';
import { ConfigError } from './config/problem.ts';
import type { Log } from './observe/log.ts';
import { StoreLayout } from './store/layout.ts';
import { authorityFiles } from './tls/certificate-authority.ts';

/** Whatever the edge goes by: what its configuration was read from, its keys, its storage. */
function trustedFiles({ files = [], tls, listen, storage, audit }: Config): TrustedFile[] {
  const layout = new StoreLayout(storage.path);
  const open = (path: string): TrustedFile => ({ path, secret: false });
  // That a served key can be read by everybody is told where it is read (`tls/`).
  const served =
    listen.https === null
      ? []
      : [tls, ...tls.certificates].flatMap(({ cert, key }) => [open(cert), open(key)]);
  return [
    ...files,
    ...served,
    ...(listen.https === null ? [] : [{ path: authorityFiles(tls.cert).key, secret: true }]),
    open(storage.path),
    { path: layout.root, secret: true },
    { path: layout.sealingKey, secret: true },
    ...(audit.to !== null && isAbsolute(audit.to) ? [open(audit.to)] : []),
  ];
}

export function filesFound(config: Config): FileFinding[] {
  return fileFindings(trustedFiles(config));
}

/** @throws {ConfigError} for what every user of the machine can change; the rest is told in the log. */
export function guardFiles(config: Config, log: Log): void {
  const findings = filesFound(config);
  const refused = findings.filter((finding) => finding.refused);
  if (refused.length > 0) throw new ConfigError(refused.map(({ text }) => ({ key: 'files', message: text })));
  for (const { text } of findings) log.warn(text);
}
