import { createHash } from 'node:crypto';
import { plainJson } from '../lib/plain-json.ts';
import type { AuditEntry } from './audit-entry.ts';

/** Where a chain stands: the number and the hash of its last line. */
export interface ChainEnd {
  readonly seq: number;
  readonly hash: string;
}

export const CHAIN_START: ChainEnd = { seq: 0, hash: '0'.repeat(64) };

const HASH = /^(.*),"hash":"([0-9a-f]{64})"\}$/;

/**
 * Turns entries into lines of which each holds the hash of the one before (`prev`) and ends with its own (`hash`,
 * SHA-256 of the line as it stands without that member). A line that is changed, taken out or put in breaks the chain
 * at its place. It does not keep somebody from writing a whole new chain: ship the lines elsewhere for that.
 */
export class AuditChain {
  #end: ChainEnd;

  constructor(end: ChainEnd = CHAIN_START) {
    this.#end = end;
  }

  /** The line for an entry, newline included. */
  line(entry: AuditEntry): string {
    const seq = this.#end.seq + 1;
    const body = plainJson(JSON.stringify({ seq, ...entry, prev: this.#end.hash }));
    const hash = hashOf(body);
    this.#end = { seq, hash };
    return `${body.slice(0, -1)},"hash":"${hash}"}\n`;
  }
}

/** What a line says of its place in the chain; undefined when it is none of ours or was changed. */
export function readLine(line: string): { readonly end: ChainEnd; readonly prev: string } | undefined {
  const [, head, hash] = HASH.exec(line) ?? [];
  if (head === undefined || hash === undefined || hashOf(`${head}}`) !== hash) return undefined;
  const content: unknown = JSON.parse(`${head}}`);
  if (typeof content !== 'object' || content === null || !('seq' in content) || !('prev' in content))
    return undefined;
  const { seq, prev } = content;
  return typeof seq === 'number' && typeof prev === 'string' ? { end: { seq, hash }, prev } : undefined;
}

function hashOf(body: string): string {
  return createHash('sha256').update(body).digest('hex');
}
