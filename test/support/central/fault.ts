import type { OutgoingHttpHeaders } from 'node:http';
import type { CentralRequest, RequestKind } from './request.ts';

/** What goes wrong with an answer. Several faults may meet in one answer: a cut of one that ignores `Range`. */
export type Fault = FaultKind & {
  /** How often; for ever by default. */
  readonly times?: number;
  /** How many matching requests are spared first. */
  readonly skip?: number;
};

type FaultKind =
  /** Another status; the body is the registry's error document unless given. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly headers?: OutgoingHttpHeaders;
      readonly body?: string;
    }
  /** The connection ends after so many bytes of the body, before the headers when not given. */
  | { readonly kind: 'cut'; readonly afterBytes?: number; readonly by?: 'fin' | 'rst' }
  /** Silence after so many bytes of the body, before the headers when not given; the rest follows `until`, if ever. */
  | { readonly kind: 'stall'; readonly afterBytes?: number; readonly until?: Promise<unknown> }
  /** The body trickles. */
  | { readonly kind: 'drip'; readonly bytesPerSecond: number }
  /** One bit of the content is wrong. */
  | { readonly kind: 'corrupt'; readonly offset: number }
  /** The body lacks its last bytes, and its Content-Length agrees. */
  | { readonly kind: 'short'; readonly bytes: number }
  /** The body has more bytes than the content, and its Content-Length agrees. */
  | { readonly kind: 'long'; readonly bytes: number }
  /** `Docker-Content-Digest` names another digest. */
  | { readonly kind: 'wrongDigestHeader'; readonly digest: string }
  /** Another content under the same name; the headers still claim the digest of the right one. */
  | { readonly kind: 'swap'; readonly content: Buffer; readonly mediaType?: string }
  | { readonly kind: 'ignoreRange' }
  /** No Content-Length. */
  | { readonly kind: 'chunked' }
  /** `Content-Encoding: gzip`, whatever was accepted. */
  | { readonly kind: 'gzip' }
  /** To the same path on another origin, or wherever the function says. */
  | {
      readonly kind: 'redirect';
      readonly to: string | ((request: CentralRequest) => string);
      readonly status?: number;
    }
  /** Headers on top; `undefined` takes one away. */
  | { readonly kind: 'headers'; readonly headers: Readonly<Record<string, string | undefined>> };

/** Every field that is given must agree. */
export interface Match {
  readonly method?: string;
  readonly kind?: RequestKind;
  readonly repository?: string;
  /** A digest or a tag. */
  readonly reference?: string;
  readonly when?: (request: CentralRequest) => boolean;
}

export interface ScriptedFault {
  /** How many requests it has hit. */
  readonly hits: number;
  remove(): void;
}

/** The faults that a test has asked for, in the order of asking. */
export class FaultScript {
  #entries: { readonly match: Match; readonly fault: Fault; seen: number; hits: number }[] = [];

  on(match: Match, fault: Fault): ScriptedFault {
    const entry = { match, fault, seen: 0, hits: 0 };
    this.#entries.push(entry);
    return {
      get hits() {
        return entry.hits;
      },
      remove: () => {
        this.#entries = this.#entries.filter((other) => other !== entry);
      },
    };
  }

  clear(): void {
    this.#entries = [];
  }

  /** The faults for one request; each counts as used. */
  take(request: CentralRequest): Fault[] {
    const due = this.#entries.filter((entry) => {
      if (!matches(request, entry.match)) return false;
      entry.seen += 1;
      return entry.seen > (entry.fault.skip ?? 0) && entry.hits < (entry.fault.times ?? Infinity);
    });
    for (const entry of due) entry.hits += 1;
    return due.map((entry) => entry.fault);
  }
}

export function matches(request: CentralRequest, match: Match): boolean {
  const { method, kind, repository, reference, when } = match;
  return (
    (method === undefined || method === request.method) &&
    (kind === undefined || kind === request.kind) &&
    (repository === undefined || repository === request.repository) &&
    (reference === undefined || reference === request.reference) &&
    (when === undefined || when(request))
  );
}
