import { Readable } from 'node:stream';
import type { Digest } from '../../oci/digest.ts';
import { parseContentRange } from '../../oci/range.ts';
import type { RepositoryRef } from '../../oci/repository-ref.ts';
import { reasonFor } from '../reason-for.ts';
import type { AskedAs } from '../verdicts/asked-as.ts';
import { UpstreamError, type Upstream, type UpstreamResponse } from '../../upstream/upstream.ts';

/** A blob's body, opened at some offset. */
export interface OpenedBody {
  /** Of the whole blob. */
  readonly size: number;
  /** The position of the body's first byte: 0 when the source ignored the range. */
  readonly first: number;
  /** For `If-Range` when the rest is asked for. */
  readonly etag: string | undefined;
  readonly body: Readable;
}

export type SourceFailure = 'unknown' | 'unavailable' | 'protocol';

export class SourceError extends Error {
  readonly kind: SourceFailure;
  /** Of a caller whom the upstream wants to identify otherwise. */
  readonly challenges: readonly string[] | undefined;

  constructor(
    kind: SourceFailure,
    message: string,
    options: ErrorOptions & { readonly challenges?: readonly string[] | undefined } = {},
  ) {
    super(message, options);
    this.name = 'SourceError';
    this.kind = kind;
    this.challenges = options.challenges;
  }
}

/** Somewhere that a fill's bytes can come from. */
export interface BlobSource {
  /** @throws {SourceError} */
  open(offset: number, etag: string | undefined, signal: AbortSignal): Promise<OpenedBody>;
  /** The size, without the body. @throws {SourceError} */
  size(signal?: AbortSignal): Promise<number>;
}

/** The one place that decides where a fill's bytes come from: the first that can is taken. */
export function blobSources(
  upstream: Upstream,
  repository: RepositoryRef,
  digest: Digest,
  as: AskedAs,
): readonly BlobSource[] {
  return [new UpstreamBlobSource(upstream, repository, digest, as)];
}

class UpstreamBlobSource implements BlobSource {
  readonly #upstream: Upstream;
  readonly #repository: RepositoryRef;
  readonly #digest: Digest;
  readonly #as: AskedAs;

  constructor(upstream: Upstream, repository: RepositoryRef, digest: Digest, as: AskedAs) {
    this.#upstream = upstream;
    this.#repository = repository;
    this.#digest = digest;
    this.#as = as;
  }

  async open(offset: number, etag: string | undefined, signal: AbortSignal): Promise<OpenedBody> {
    const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
    if (offset > 0 && etag !== undefined) headers['if-range'] = etag;
    const response = await this.#ask('GET', headers, signal);
    try {
      return await this.#opened(response, offset, signal);
    } catch (error) {
      response.body.destroy();
      throw error;
    }
  }

  async size(signal?: AbortSignal): Promise<number> {
    const response = await this.#ask('HEAD', {}, signal);
    response.body.destroy();
    const size = contentLength(response);
    if (response.status !== 200) throw refusal(response);
    if (size === undefined)
      throw new SourceError('protocol', 'the upstream does not say how large the blob is');
    return size;
  }

  async #opened(response: UpstreamResponse, offset: number, signal: AbortSignal): Promise<OpenedBody> {
    const { status, body, headers } = response;
    const etag = strongTag(headers['etag']);
    if (status === 200) {
      return { size: contentLength(response) ?? (await this.size(signal)), first: 0, etag, body };
    }
    if (status === 416) {
      // Asked for what lies behind the last byte: everything is here already, or the partial file is too long.
      const size = Number(/^bytes \*\/(\d{1,15})$/.exec(headers['content-range'] ?? '')?.[1] ?? Number.NaN);
      if (Number.isNaN(size))
        throw new SourceError('protocol', 'the upstream refused the range without a size');
      body.resume();
      return { size, first: size, etag, body: Readable.from([]) };
    }
    if (status !== 206) throw refusal(response);
    const range = parseContentRange(headers['content-range'] ?? '');
    if (range === undefined || range.first !== offset) {
      throw new SourceError('protocol', 'the upstream answered with another range than was asked for');
    }
    return { size: range.total ?? (await this.size(signal)), first: offset, etag, body };
  }

  async #ask(
    method: 'GET' | 'HEAD',
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
  ): Promise<UpstreamResponse> {
    try {
      return await this.#upstream.ask({
        method,
        repository: this.#repository.name,
        path: `blobs/${this.#digest}`,
        headers,
        showing: this.#as.showing,
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (cause) {
      if (!(cause instanceof UpstreamError)) throw cause;
      throw new SourceError(cause.kind === 'protocol' ? 'protocol' : 'unavailable', reasonFor(cause), {
        cause,
      });
    }
  }
}

function refusal({ status, challenges }: UpstreamResponse): SourceError {
  const known = status === 404 || status === 410 || status === 401 || status === 403;
  return new SourceError(known ? 'unknown' : 'protocol', `the upstream answered ${status}`, {
    challenges,
  });
}

function contentLength(response: UpstreamResponse): number | undefined {
  const text = response.headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Weak validators cannot be used in `If-Range` (RFC 9110 §13.1.5). */
function strongTag(etag: string | undefined): string | undefined {
  return etag?.startsWith('"') === true ? etag : undefined;
}
