import type { ContenderName } from '../scenario.ts';

/** Where one contender listens, and the process whose tree does the work there. */
export interface Endpoint {
  /** Without a slash at the end. */
  readonly url: string;
  readonly pid: number;
}

/** A cache in front of a central registry, started and empty. */
export interface Contender extends AsyncDisposable {
  readonly name: ContenderName;
  readonly plain: Endpoint;
  readonly secure: Endpoint;
  /** The last it said, for the message of a run that failed. */
  lastWords(): string;
}

/** All contenders get the same: an upstream, a key pair, a number of workers. */
export interface ContenderOptions {
  readonly upstream: string;
  readonly certificate: { readonly cert: string; readonly key: string };
  readonly workers: number;
}
