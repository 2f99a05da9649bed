import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Access, Wanted } from '../access/authorize.ts';
import type { Caller, Evidence, Identity } from '../access/caller.ts';
import { originOf } from '../access/edge/challenges.ts';
import { Denied } from '../access/refusals.ts';
import { parseDigest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import { referenceText } from '../oci/reference.ts';
import { actionOf } from '../registry/actions.ts';
import type { RepositoryRoute, Route } from '../registry/route.ts';
import { shownCertificate } from '../access/edge/shown-certificate.ts';

/** What access adds to what is told of a request. */
export interface AccessTrace {
  readonly address: string;
  /** Of a caller who is known by name, and how. */
  user?: string;
  by?: Identity['by'];
  /** What let the caller in. */
  granted?: string;
  /** Why the caller was refused; they may have been told that it is not there. */
  denied?: string;
}

/** Who asks. @throws as {@link Access.identify} */
export async function identifyCaller(
  access: Access,
  request: IncomingMessage,
  trace: AccessTrace,
  route: Route,
): Promise<Caller> {
  const named = 'name' in route ? route : undefined;
  const action = actionOf(route, request.method ?? '') ?? 'pull';
  return await identify(access, trace, {
    ...evidenceOf(request, trace),
    wanted: named && { name: named.name, action },
  });
}

/** What a request shows of who sent it. */
export function evidenceOf(request: IncomingMessage, { address }: AccessTrace): Evidence {
  const { socket, headers } = request;
  return {
    address,
    authorization: headers.authorization,
    certificate: shownCertificate(socket)?.raw,
    origin: originOf(socket instanceof TLSSocket, headers.host),
  };
}

/** @throws as {@link Access.identify} */
export async function identify(access: Access, trace: AccessTrace, evidence: Evidence): Promise<Caller> {
  const identified = access.identify(evidence);
  const caller = identified instanceof Promise ? await identified : identified;
  traceCaller(caller, trace);
  return caller;
}

export function traceCaller({ identity }: Caller, trace: AccessTrace): void {
  if (identity === undefined) return;
  trace.user = identity.user;
  trace.by = identity.by;
}

/** Undefined for who must not learn whether it is there: not there, then. @throws as {@link Access.authorize} otherwise. */
export async function authorizeRequest(
  access: Access,
  caller: Caller,
  wanted: Wanted,
  trace: AccessTrace,
): Promise<GrantedRepository | undefined> {
  try {
    const authorized = access.authorize(caller, wanted);
    const granted = authorized instanceof Promise ? await authorized : authorized;
    traceGranted(access, caller, granted, trace);
    return granted;
  } catch (error) {
    if (!(error instanceof Denied)) throw error;
    trace.denied = error.message;
    if (error.hidden) return undefined;
    throw error;
  }
}

/** Who was let in, and by what. */
export function traceGranted(
  access: Access,
  caller: Caller,
  granted: GrantedRepository,
  trace: AccessTrace,
): void {
  trace.granted = granted.by;
  const identity = access.identityOf(caller);
  if (identity !== undefined) trace.user = identity.user;
}

/** For a mount: from where the caller may not read, there is nothing to mount. `refused` hears why. */
export async function readableOf(
  access: Access,
  caller: Caller,
  wanted: Wanted,
  refused: (reason: string) => void,
): Promise<GrantedRepository | undefined> {
  try {
    return await access.authorize(caller, wanted);
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    refused(error.message);
    return undefined;
  }
}

export function objectOf(route: RepositoryRoute): Wanted['object'] {
  if (route.kind === 'manifest') return { kind: 'manifest', reference: route.reference };
  return route.kind === 'blob' ? { kind: 'blob', digest: route.digest } : undefined;
}

/** What of the repository is asked for, as the client names it. */
export function referenceOf(route: RepositoryRoute): string | undefined {
  if (route.kind === 'manifest') return referenceText(route.reference);
  if (route.kind === 'blob' || route.kind === 'referrers') return route.digest;
  if (route.kind === 'tags') return undefined;
  const query = new URLSearchParams(route.search);
  return parseDigest(query.get('mount') ?? query.get('digest') ?? '');
}
