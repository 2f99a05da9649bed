/** What of a request says who asks. Never logged: it holds secrets. */
export interface Evidence {
  /** Canonical address of the client. */
  readonly address: string;
  /** The header as it was sent. */
  readonly authorization: string | undefined;
  /** The DER of a client certificate that the TLS layer has verified against the configured CA. */
  readonly certificate: Uint8Array | undefined;
}

/** Who asks. */
export interface Caller {
  readonly address: string;
  /** Undefined where only the network is known. */
  readonly identity: Identity | undefined;
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
