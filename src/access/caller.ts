import type { RepositoryName } from '../oci/repository-name.ts';

/** What of a request says who asks. Never logged: it holds secrets. */
export interface Evidence {
  /** Canonical address of the client. */
  readonly address: string;
  /** The header as it was sent. */
  readonly authorization: string | undefined;
  /** The DER of a client certificate that the TLS layer has verified against the configured CA. */
  readonly certificate: Uint8Array | undefined;
  /** What the request is for, and where it was sent (`https://HOST`), for a challenge; undefined where that is not known. */
  readonly wanted?: WantedScope | undefined;
  readonly origin?: string | undefined;
}

/** What a challenge says is wanted: the name of the request's path, and the action. */
export interface WantedScope {
  readonly name: RepositoryName;
  readonly action: 'pull' | 'push' | 'delete';
}

/** Who asks. */
export interface Caller {
  readonly address: string;
  /** Undefined where only the network is known. */
  readonly identity: Identity | undefined;
  /** Where their client sent the request: `https://HOST`. */
  readonly origin?: string | undefined;
  /** With `auth.mode: upstream`: what the client shows, for the upstream to judge. A secret. */
  readonly authorization?: string | undefined;
}

/** Somebody whom an authenticator knows. */
export interface Identity {
  readonly user: string;
  readonly groups: readonly string[];
  /** How they are known; for the record. */
  readonly by: 'certificate' | 'htpasswd' | 'ldap' | 'oidc' | 'token' | 'upstream';
  /** Of a token that was given for some uses only. Absent: whatever the roles allow. */
  readonly scopes?: readonly Scope[];
}

/** A repository as the client names it in the path, and what a token may be used for there. */
export interface Scope {
  readonly name: string;
  readonly actions: readonly string[];
}
