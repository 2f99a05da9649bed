import type { AuditEntry } from '../audit/audit-entry.ts';
import type { Usage } from '../lib/limits/usage.ts';
import type { IndexKey, Keeper, KeeperEvent } from '../cache/keeper.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';

/** The questions of {@link Keeper}, by name: each takes one argument and gives one answer. */
export type Question =
  | 'manifest'
  | 'blob'
  | 'blobSize'
  | 'listing'
  | 'openBypass'
  | 'readBypass'
  | 'suspect'
  | 'pushed'
  | 'verdict';
export type ArgumentOf<Q extends Question> = Parameters<Keeper[Q]>[0];
export type AnswerOf<Q extends Question> = Awaited<ReturnType<Keeper[Q]>>;

/** What a worker sends to the keeper. */
export type WorkerMessage =
  | { readonly type: 'ask'; readonly id: number; readonly question: Question; readonly argument: unknown }
  | { readonly type: 'touch'; readonly keys: readonly IndexKey[] }
  | { readonly type: 'audit'; readonly entries: readonly AuditEntry[] }
  | { readonly type: 'used'; readonly usage: Usage }
  | { readonly type: 'closeBypass'; readonly ticket: number }
  | { readonly type: 'ready' }
  /** The settings of that number are in force. */
  | { readonly type: 'reloaded'; readonly id: number }
  /** The worker cannot serve; fit for the operator. */
  | { readonly type: 'failed'; readonly code: string | undefined; readonly message: string }
  | { readonly type: 'metrics'; readonly id: number; readonly snapshot: MetricsSnapshot };

/** What the keeper sends to a worker. */
export type KeeperMessage<Settings> =
  | { readonly type: 'start'; readonly settings: Settings }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly message: string }
  | { readonly type: 'event'; readonly event: KeeperEvent }
  | { readonly type: 'collect'; readonly id: number }
  | { readonly type: 'reload'; readonly id: number; readonly settings: Settings }
  | { readonly type: 'drain' };
