/**
 * - `pull`, `list`, `push`, `delete`, `ping`: what a request was for; `none` when that could not be told.
 * - `login`: a token of the edge's own was asked for.
 * - `connect`: a TCP connection that the address rules turned away.
 * - `cache.…`, `warm`, `reload`: what an operator did, or somebody was refused to do.
 * - `admin`: a look at what only operators may see.
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

/** What is done through the control socket, by whoever may reach it, and by operators over the network. */
export type OperatorAct = 'cache.purge' | 'cache.pin' | 'cache.unpin' | 'warm' | 'reload' | 'admin';

/** Who did it, and how it ended. */
export type ActFacts = Pick<AuditEntry, 'user' | 'ip' | 'decision' | 'status' | 'bytes' | 'requestId'>;

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
  /** What let them in (`network`, `role reader, roles[0]`) or kept them out, with the error code; what an operator asked for. */
  readonly reason: string;
  /** Of the answer; 0 where there was none. */
  readonly status: number;
  /** Of the body: sent to the client, or taken from one who pushes. */
  readonly bytes: number;
  readonly requestId: string;
}
