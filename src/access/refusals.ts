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

/** 429 with `Retry-After`. */
export class TooManyRequests extends RegistryError {
  readonly retryAfterSeconds: number;

  constructor(detail: string, retryAfterSeconds: number) {
    super('TOOMANYREQUESTS', detail);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
