import type { UpstreamError, UpstreamFailure } from '../upstream/upstream.ts';

const REASONS: Readonly<Record<UpstreamFailure, string>> = {
  unreachable: 'the upstream registry cannot be reached',
  timeout: 'the upstream registry did not answer in time',
  server: 'the upstream registry failed',
  throttled: 'the upstream registry asked this edge to wait',
  protocol: 'the upstream registry gave an answer that cannot be used',
  suspended: 'the upstream registry failed lately and is not asked at the moment',
  credentials: 'this edge has no valid credentials for the upstream registry at the moment',
};

/** What a client is told of an upstream's failure: its kind. Hosts and causes are for the log. */
export function reasonFor(error: UpstreamError): string {
  return REASONS[error.kind];
}
