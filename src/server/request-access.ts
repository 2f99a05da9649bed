import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Access, Wanted } from '../access/authorize.ts';
import type { Caller } from '../access/caller.ts';
import { Denied } from '../access/refusals.ts';
import { parseDigest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import { referenceText } from '../oci/reference.ts';
import type { RepositoryRoute } from '../registry/route.ts';

/** What access adds to what is told of a request. */
export interface AccessTrace {
  readonly address: string;
  /** Of a caller who is known by name. */
  user?: string;
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
): Promise<Caller> {
  const { authorization } = request.headers;
  const certificate = clientCertificate(request.socket);
  const identified = access.identify({ address: trace.address, authorization, certificate });
  const caller = identified instanceof Promise ? await identified : identified;
  if (caller.identity !== undefined) trace.user = caller.identity.user;
  return caller;
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
    trace.granted = granted.by;
    return granted;
  } catch (error) {
    if (!(error instanceof Denied)) throw error;
    trace.denied = error.message;
    if (error.hidden) return undefined;
    throw error;
  }
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

/** Of a certificate that was verified in the handshake, and in no other case. */
function clientCertificate(socket: Socket): Uint8Array | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  return socket.getPeerX509Certificate()?.raw;
}
