/**
 * The closed list of the OCI distribution spec, each with its one status and its standard message, and what the spec
 * has no word for in the spec's error shape: `UNAVAILABLE`, `UNKNOWN`, an upstream's answer that cannot be used, and a
 * range that lies outside the body.
 */
export const ERROR_CODES = {
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: 'blob upload unknown to registry' },
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to registry' },
  DENIED: { status: 403, message: 'requested access to the resource is denied' },
  DIGEST_INVALID: { status: 400, message: 'provided digest is not valid' },
  MANIFEST_INVALID: { status: 400, message: 'manifest invalid' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown to registry' },
  NAME_INVALID: { status: 400, message: 'invalid repository name' },
  NAME_UNKNOWN: { status: 404, message: 'repository name not known to registry' },
  SIZE_INVALID: { status: 400, message: 'provided length is not valid' },
  RANGE_UNSATISFIABLE: { code: 'SIZE_INVALID', status: 416, message: 'requested range is not satisfiable' },
  TOOMANYREQUESTS: { status: 429, message: 'too many requests' },
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  UNSUPPORTED: { status: 405, message: 'the operation is unsupported' },
  UNAVAILABLE: { status: 503, message: 'the upstream registry cannot be reached' },
  BAD_UPSTREAM: {
    code: 'UNKNOWN',
    status: 502,
    message: 'the upstream registry gave an answer that this edge does not pass on',
  },
  UNKNOWN: { status: 500, message: 'unknown error' },
} as const satisfies Record<string, { status: number; message: string; code?: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** What a client may know of a failure; the cause stays in the log. */
export class RegistryError extends Error {
  readonly code: ErrorCode;
  /** Shown to the client: names what was wrong and what is taken instead. */
  readonly detail: string | undefined;

  constructor(code: ErrorCode, detail?: string, options?: ErrorOptions) {
    super(detail ?? ERROR_CODES[code].message, options);
    this.name = 'RegistryError';
    this.code = code;
    this.detail = detail;
  }
}
