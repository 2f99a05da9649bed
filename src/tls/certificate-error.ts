/**
 * Certificates cannot be used or made. The message is for the operator: it names the file, what is wrong with it,
 * and what to do about it.
 */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
}

const RIGHTS = ': give the user that Pierhead runs as the rights to it and to its folder.';

const ADVICE: Readonly<Record<string, string>> = {
  EACCES: RIGHTS,
  EPERM: RIGHTS,
  EROFS: ': its filesystem is read-only; make it writable, or put a certificate and key of your own there.',
  ENOSPC: ': its filesystem is full; make room there.',
  EDQUOT: ': the disk quota is used up; make room there.',
  ELOOP: ': it is a symbolic link; put the file itself there.',
  ENOENT: ': it is a symbolic link that leads nowhere, or its folder is missing.',
  ENOTDIR: ': a part of its path is a file, not a folder.',
  EISDIR: ': it is a folder; name a file.',
  EINVAL: ': something else stands in its place; remove it.',
};

/** Passes a failed file operation on as a {@link CertificateError}. */
export async function orExplain<T>(file: string, verb: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw explained(file, verb, error);
  }
}

/** `verb` completes "FILE cannot be …". What is explained already stays as it is. */
export function explained(file: string, verb: string, error: unknown): CertificateError {
  if (error instanceof CertificateError) return error;
  const code = codeOf(error);
  const reason = code ?? (error instanceof Error ? error.message : 'unknown failure');
  const advice = (code === undefined ? undefined : ADVICE[code]) ?? '.';
  return new CertificateError(`${file} cannot be ${verb} (${reason})${advice}`, { cause: error });
}

/** The `code` of a Node system error, such as `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
