/**
 * - `pull`, `list`, `push`, `delete`, `ping`: what a request was for; `none` when that could not be told.
 * - `login`: a token of the edge's own was asked for.
 * - `connect`: a TCP connection that the address rules turned away.
 * - `cache.…`, `warm`, `reload`: what an operator did.
 * - `audit.start`, `audit.stop`, `audit.lost`: about the record itself.
 */
export type AuditAction =
  | 'pull'
  | 'list'
  | 'push'
  | 'delete'
  | 'ping'
  | 'login'
  | 'none'
  | 'connect'
  | OperatorAct
  | `audit.${'start' | 'stop' | 'lost'}`;

/** What is done through the control socket, by whoever may reach it. */
export type OperatorAct = 'cache.purge' | 'cache.pin' | 'cache.unpin' | 'warm' | 'reload';

/** One access decision or administrative act, as it goes on record. Plain data: workers send it to the keeper. */
export interface AuditEntry {
  /** RFC 3339, UTC, milliseconds. */
  readonly timestamp: string;
  readonly action: AuditAction;
  /** `anonymous` where the network is the identity. */
  readonly user: string;
  /** Canonical; empty for acts on this host. */
  readonly ip: string;
  /** With the upstream's name in front. */
  readonly repository?: string;
  readonly tags?: readonly string[];
  readonly digest?: string;
  readonly decision: 'allow' | 'deny';
  /** Why: an error code, a rule, what an operator asked for. */
  readonly reason: string;
  /** Of the answer; 0 where there was none. */
  readonly status: number;
  /** Body bytes that were sent. */
  readonly bytes: number;
  readonly requestId: string;
}
