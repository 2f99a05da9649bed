import { StorageInUse } from './admin/control-server.ts';
import { CertificateError } from './tls/certificate-error.ts';

/** The edge cannot start; the message says why and what to do. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use: end the program that has it, or choose another one',
  EACCES: 'no permission: ports below 1024 and folders of others need rights that this user does not have',
  EPERM: 'not permitted for this user',
  EADDRNOTAVAIL: 'this machine does not have that address',
  ENOTFOUND: 'that host name has no address',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'something on the way there is not a folder',
  EEXIST: 'there is a file in the place of a folder: take it away, or choose another folder',
};

/** `what` names the key or flag that the operator can change. */
export function startFailure(what: string, error: unknown): StartError {
  if (error instanceof StartError) return error;
  if (error instanceof CertificateError) return new StartError(error.message, { cause: error });
  if (error instanceof StorageInUse) {
    return new StartError(`${what}: ${error.message}; give each edge a folder of its own`, { cause: error });
  }
  const { code } = error as NodeJS.ErrnoException;
  const message = error instanceof Error ? error.message : String(error);
  const advice = code === undefined ? undefined : ADVICE[code];
  return new StartError(`${what}: ${advice ?? message}${advice === undefined ? '' : ` (${message})`}`, {
    cause: error,
  });
}
