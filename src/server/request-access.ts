import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Access, Wanted } from '../access/authorize.ts';
import type { Caller } from '../access/caller.ts';
import { Denied } from '../access/refusals.ts';
import { RegistryError, type ErrorCode } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import type { RepositoryRoute } from '../registry/route.ts';

/** What access adds to what is told of a request. */
export interface AccessTrace {
  readonly address: string;
  /** Of a caller who is known by name. */
  user?: string;
  /** Why the caller was refused what looks like absent to them. */
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

/** @throws as {@link Access.authorize}, but for what must not be told: that is not there then. */
export async function authorizeRequest(
  access: Access,
  caller: Caller,
  wanted: Wanted,
  { route, trace }: { readonly route: RepositoryRoute; readonly trace: AccessTrace },
): Promise<GrantedRepository> {
  try {
    const granted = access.authorize(caller, wanted);
    return granted instanceof Promise ? await granted : granted;
  } catch (error) {
    if (!(error instanceof Denied) || !error.hidden) throw error;
    trace.denied = error.message;
    throw new RegistryError(ABSENT[route.kind]);
  }
}

/** What each route says of what is not there. */
const ABSENT = {
  manifest: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
  tags: 'NAME_UNKNOWN',
  referrers: 'NAME_UNKNOWN',
  upload: 'NAME_UNKNOWN',
} as const satisfies Record<RepositoryRoute['kind'], ErrorCode>;

/** For a mount: from where the caller may not read, there is nothing to mount. */
export async function readableOf(
  access: Access,
  caller: Caller,
  wanted: Wanted,
): Promise<GrantedRepository | undefined> {
  try {
    return await access.authorize(caller, wanted);
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

export function objectOf(route: RepositoryRoute): Wanted['object'] {
  if (route.kind === 'manifest') return { kind: 'manifest', reference: route.reference };
  return route.kind === 'blob' ? { kind: 'blob', digest: route.digest } : undefined;
}

/** Of a certificate that was verified in the handshake, and in no other case. */
export function clientCertificate(socket: Socket): Uint8Array | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  return socket.getPeerX509Certificate()?.raw;
}
