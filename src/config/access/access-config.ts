import type { Bytes, Milliseconds } from '../../lib/brand.ts';

/** IP addresses, or networks as ADDRESS/PREFIX. */
export type Networks = readonly string[];

export interface AllowAndDeny {
  readonly allow: Networks;
  readonly deny: Networks;
}

/** Listeners that may have lists of their own, in place of the common ones. */
export const GUARDED_LISTENERS = ['https', 'http', 'admin'] as const;
export type GuardedListener = (typeof GUARDED_LISTENERS)[number];

export interface AccessConfig extends AllowAndDeny {
  readonly listeners: Readonly<Partial<Record<GuardedListener, AllowAndDeny>>>;
  /** Whose word is taken on who the client is. */
  readonly trustedProxies: Networks;
  /** Whether trusted proxies begin a connection with the PROXY protocol (version 1 or 2). */
  readonly proxyProtocol: boolean;
  /** What no repository's own name may contain anywhere, lower case: those that do are not there for anybody. */
  readonly forbiddenNames: readonly string[];
}

export interface LimitsConfig {
  /** Of one address (IPv6: one /64), and of one identity. */
  readonly requestsPerSecond: number;
  readonly burst: number;
  /** Of one address (IPv6: one /64), over all workers. */
  readonly connectionsPerAddress: number;
  /** Of one worker's listener. */
  readonly connections: number;
  /** Per second, that a client has to read (or send) at least, over 30 s. */
  readonly minRate: Bytes;
  /** Cold transfers that one caller may have under way at once. */
  readonly fillsPerCaller: number;
  /** Questions for what does not exist, of one caller, that go to an upstream, per second. */
  readonly unknownPerSecond: number;
}

export const ROLES = ['reader', 'publisher', 'operator'] as const;
export type Role = (typeof ROLES)[number];

/** Whom (in `users` or `groups`, and in `networks` where there are any) it lets do what, and where. */
export interface RoleConfig {
  readonly role: Role;
  /** `*` is whoever is known by name. */
  readonly users: readonly string[];
  readonly groups: readonly string[];
  readonly networks: Networks;
  /** Absent: all of them. */
  readonly upstream?: string;
  /** Patterns over the upstream's own repository names (`access/name-pattern.ts`). Empty: all. */
  readonly repositories: readonly string[];
}

export interface HtpasswdEntry {
  readonly user: string;
  /** bcrypt. */
  readonly hash: string;
}

export interface ClientCertificateConfig {
  /** PEM text of the CAs that clients' certificates come from. */
  readonly ca: string;
  /** PEM text of revocation lists. */
  readonly crl?: string;
  /** What of a certificate names its user. */
  readonly user: 'commonName' | 'subjectAltName';
}

export interface TokenServiceConfig {
  readonly enabled: boolean;
  readonly ttl: Milliseconds;
  /** The URL of the token service as clients reach it. Absent: where they reach the edge. */
  readonly realm?: string;
}

export interface LdapConfig {
  /** `ldaps://…`, or `ldap://…` with StartTLS. In order of preference. */
  readonly urls: readonly string[];
  /** PEM text. */
  readonly ca?: string;
  readonly bindDn?: string;
  readonly bindPassword?: string;
  readonly userBase: string;
  /** `{user}` stands for the name, escaped. */
  readonly userFilter: string;
  readonly groupBase?: string;
  /** `{dn}` and `{user}` stand for the user's, escaped. */
  readonly groupFilter: string;
  readonly timeout: Milliseconds;
}

export interface OidcConfig {
  /** https, without a slash at the end unless the issuer has one. */
  readonly issuer: string;
  readonly audience: string;
  readonly userClaim: string;
  readonly groupsClaim: string;
  /** PEM text. */
  readonly ca?: string;
}

export interface EdgeAuthConfig {
  readonly htpasswd?: readonly HtpasswdEntry[];
  readonly clientCertificate?: ClientCertificateConfig;
  readonly token: TokenServiceConfig;
  readonly ldap?: LdapConfig;
  readonly oidc?: OidcConfig;
}

export const AUTH_MODES = ['none', 'edge', 'upstream'] as const;

export type AuthConfig =
  | { readonly mode: 'none' }
  | {
      readonly mode: 'edge';
      readonly edge: EdgeAuthConfig;
      /** Whether passwords and tokens may come over plain HTTP from elsewhere than this host. */
      readonly allowPlain: boolean;
    }
  | { readonly mode: 'upstream'; readonly allowPlain: boolean };
