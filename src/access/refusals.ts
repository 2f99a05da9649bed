import { RegistryError } from '../oci/error-codes.ts';

/** Another identity, or any, could help: 401 with challenges. */
export class Unauthorized extends RegistryError {
  /** Values of `WWW-Authenticate`, one each. */
  readonly challenges: readonly string[];

  constructor(detail: string, challenges: readonly string[], options?: ErrorOptions) {
    super('UNAUTHORIZED', detail, options);
    this.challenges = challenges;
  }
}

/** The caller may not. `hidden`: may not even know whether it is there, so the answer is that of what is not there. */
export class Denied extends RegistryError {
  readonly hidden: boolean;

  constructor(detail: string, hidden: boolean) {
    super('DENIED', detail);
    this.hidden = hidden;
  }
}

/** Which limit a caller was over; few and fixed, fit for a metric's label. */
export const LIMITS = ['address', 'identity', 'fills', 'unknown', 'other'] as const;
export type Limit = (typeof LIMITS)[number];

/** 429 with `Retry-After`. */
export class TooManyRequests extends RegistryError {
  readonly retryAfterSeconds: number;
  readonly limit: Limit;

  constructor(detail: string, retryAfterSeconds: number, limit: Limit = 'other') {
    super('TOOMANYREQUESTS', detail);
    this.retryAfterSeconds = retryAfterSeconds;
    this.limit = limit;
  }
}
