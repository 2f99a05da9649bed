/** What sources of identities tell of themselves. Nothing of it is a secret. */
export interface SourceEvents {
  /** A server can be asked, or no more; told once per change, the first word included. */
  changed(source: 'ldap' | 'oidc', server: string, up: boolean, reason: string | undefined): void;
  /** Somebody is who they say, and cannot be let in by it: what to mend. */
  unusable(source: 'ldap' | 'oidc', reason: string): void;
}
