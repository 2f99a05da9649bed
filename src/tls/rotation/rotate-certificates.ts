import { dirname, join } from 'node:path';
import {
  authorityFiles,
  formerAuthorityFiles,
  makeAuthority,
  readAuthority,
} from '../certificate-authority.ts';
import { CertificateError } from '../certificate-error.ts';
import {
  finishInterrupted,
  installPair,
  makeFolders,
  readCertificate,
  readPair,
  removeIfThere,
  replaceCertificate,
  type CertificatePair,
  type PairFiles,
} from '../certificate-files.ts';
import type { CertificateState } from '../describe-certificates.ts';
import {
  finishBoth,
  makePair,
  stateOf,
  survey,
  underLock,
  type CertificateOptions,
} from '../ensure-certificates.ts';
import { configuredNames } from '../leaf-certificate.ts';

/**
 * A new key and certificate from the local CA, at the operator's word; all that is missing is made.
 * @throws CertificateError also when the certificate was not made here.
 */
export async function rotateCertificates(options: CertificateOptions): Promise<CertificateState> {
  configuredNames(options.names);
  await makeFolders(options);
  return underLock(options, async () => {
    await finishBoth(options);
    if (!(await isReplaceable(options))) return makePair(options);
    await makePair(options);
    return stateOf(options, await survey(options), 'renewed');
  });
}

export interface AuthorityRotation {
  readonly state: CertificateState;
  /** The CA that clients still trust; undefined when there was none. Its key is there when there was one. */
  readonly former: PairFiles | undefined;
  /** The CA had been made before, by {@link prepareAuthority}. */
  readonly prepared: boolean;
}

/**
 * Takes another CA into use, the prepared one or a new one, and has it issue the server's certificate. A crash on the way
 * leaves a certificate of the former CA, which is kept; {@link survey} finds it due, so that the next start goes on.
 * @throws CertificateError also when the server's certificate was not made here.
 */
export async function rotateAuthority(options: CertificateOptions): Promise<AuthorityRotation> {
  configuredNames(options.names);
  await makeFolders(options);
  return underLock(options, async () => {
    const files = authorityFiles(options.cert);
    const next = nextAuthorityFiles(options.cert);
    await finishBoth(options);
    await finishInterrupted(next);
    await isReplaceable(options);
    const prepared = await preparedAuthority(options);
    const former = await keepFormer(options);
    await installPair(
      files,
      prepared === undefined
        ? makeAuthority(options.clock)
        : { cert: prepared.certPem, key: prepared.keyPem },
    );
    await makePair(options);
    await removeIfThere(next.key);
    await removeIfThere(next.cert);
    return {
      state: stateOf(options, await survey(options), 'renewed'),
      former,
      prepared: prepared !== undefined,
    };
  });
}

/**
 * The CA that the next {@link rotateAuthority} takes into use, so that clients can be made to trust it before anything is
 * signed by it; made unless it is there. Returns its certificate's file.
 */
export async function prepareAuthority(options: CertificateOptions): Promise<string> {
  const next = nextAuthorityFiles(options.cert);
  await makeFolders(next);
  return underLock(options, async () => {
    await finishInterrupted(next);
    if ((await readAuthority(next, options.clock)) === undefined)
      await installPair(next, makeAuthority(options.clock));
    return next.cert;
  });
}

/** One that is in use already was left by a rotation that was cut off, and would be no other. */
async function preparedAuthority({ cert, clock }: CertificateOptions): Promise<CertificatePair | undefined> {
  const prepared = await readAuthority(nextAuthorityFiles(cert), clock);
  const current = await readCertificate(authorityFiles(cert).cert);
  return prepared?.certificate.fingerprint256 === current?.fingerprint256 ? undefined : prepared;
}

function nextAuthorityFiles(certFile: string): PairFiles {
  const folder = dirname(certFile);
  return { cert: join(folder, 'next-ca.crt'), key: join(folder, 'next-ca.key') };
}

/** False when there is nothing yet. @throws CertificateError for a pair that is not ours to replace. */
async function isReplaceable(options: CertificateOptions): Promise<boolean> {
  const standing = await survey(options);
  if (standing === undefined || standing.own) return standing !== undefined;
  throw new CertificateError(
    `${options.cert} was not made by the local CA beside it, so it is not replaced: put a new pair there yourself, ` +
      'or move both files away to have one made.',
  );
}

/** A copy, made before anything is replaced. A CA whose key is kept elsewhere, or that has expired, can be replaced too. */
async function keepFormer({ cert }: CertificateOptions): Promise<PairFiles | undefined> {
  const files = authorityFiles(cert);
  const certificate = await readCertificate(files.cert);
  if (certificate === undefined) return undefined;
  const former = formerAuthorityFiles(cert, certificate);
  const pair = await readPair(files, { own: true }).catch((error: unknown) => {
    if (error instanceof CertificateError) return undefined;
    throw error;
  });
  if (pair === undefined) await replaceCertificate(former.cert, certificate.toString());
  else await installPair(former, { cert: pair.certPem, key: pair.keyPem });
  return former;
}
