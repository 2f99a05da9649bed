import type { IncomingMessage } from 'node:http';
import { addressKey } from '../access/caller-key.ts';
import type { Caller, Evidence, Identity } from '../access/caller.ts';
import type { Identification } from '../access/identification.ts';
import { TooManyRequests, Unauthorized } from '../access/refusals.ts';
import { seconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { shownCertificate } from '../access/edge/shown-certificate.ts';
import { Attempts, type AttemptRules } from './attempts.ts';
import type { Refusal } from './browser-guard.ts';

/** Who may change things over the network; a reload brings others. */
export interface Operators {
  /** Whether callers can be told apart by name at all: `auth.mode: edge`. */
  readonly identifies: boolean;
  readonly identification: Identification;
  readonly isOperator: (caller: Caller) => boolean;
  /** They are asked from here on. */
  readonly start: () => void;
  /** Others are. */
  readonly close: () => void;
}

/** Requests of one address that only an operator may make, whoever makes them. */
const REQUESTS: AttemptRules = { most: 600, within: seconds(60) };
/** Those with a password or a token that is wrong: a person has a few tries, a guesser has no more. */
const WRONG: AttemptRules = { most: 10, within: seconds(60) };

/** No operator: what to answer. `user` is the name of somebody who is known and may not. */
export interface NoOperator extends Refusal {
  readonly user?: string;
  readonly challenges?: readonly string[];
  readonly retryAfterSeconds?: number;
}

/** Lets operators through, each by name. Nobody is one by their address alone. */
export class OperatorGate {
  readonly #operators: () => Operators;
  readonly #requests: Attempts;
  readonly #wrong: Attempts;

  constructor(operators: () => Operators, clock: Clock) {
    this.#operators = operators;
    this.#requests = new Attempts(clock, REQUESTS);
    this.#wrong = new Attempts(clock, WRONG);
  }

  /** Counts a request of that address (canonical). What to answer when it is one too many. */
  arrive(address: string): NoOperator | undefined {
    const wait = this.#requests.take(addressKey(address));
    return wait === undefined ? undefined : tooMany(wait);
  }

  /** Of a request that has been let {@link arrive}. */
  async demand(request: IncomingMessage, address: string): Promise<Identity | NoOperator> {
    const { identifies, identification, isOperator } = this.#operators();
    const key = addressKey(address);
    if (!identifies) return NOBODY_IS_KNOWN;
    const evidence = {
      address,
      authorization: request.headers.authorization,
      certificate: shownCertificate(request.socket)?.raw,
    };
    const shown = evidence.authorization !== undefined || evidence.certificate !== undefined;
    // Counted before it is judged: those that are judged at the same time count, too.
    const waitAfterWrong = shown ? this.#wrong.take(key) : undefined;
    if (waitAfterWrong !== undefined) return tooMany(waitAfterWrong);
    const identity = await identify(identification, evidence);
    if (identity === undefined) return unknown('say who you are', identification, request);
    if ('status' in identity && identity.status === 401)
      return unknown(identity.reason, identification, request);
    // Not told apart from a wrong one: while one source is down, the others may have said no.
    if ('status' in identity) return identity;
    this.#wrong.giveBack(key);
    const { user, scopes } = identity;
    // A token that was given to a client for pulling is in that client's hands, not in an operator's.
    if (scopes !== undefined)
      return { status: 403, user, reason: 'that token is for repositories: show what you got it for' };
    if (!isOperator({ address, identity }))
      return { status: 403, user, reason: 'that takes the role operator' };
    return identity;
  }
}

const NOBODY_IS_KNOWN: NoOperator = {
  status: 403,
  reason:
    'nobody is known by name here: use the commands of pierhead on this host, which ask over the control socket; or set auth.mode: edge and give somebody the role operator',
};

/** Undefined for who shows nothing. */
async function identify(
  identification: Identification,
  evidence: Evidence,
): Promise<Identity | NoOperator | undefined> {
  try {
    return await identification.identify(evidence);
  } catch (error) {
    if (error instanceof Unauthorized) return { status: 401, reason: error.message };
    if (error instanceof TooManyRequests) return tooMany(error.retryAfterSeconds);
    if (error instanceof RegistryError && error.code === 'UNAVAILABLE')
      return { status: 503, reason: 'who you are cannot be found out now: the log of the edge says why' };
    throw error;
  }
}

function unknown(reason: string, identification: Identification, request: IncomingMessage): NoOperator {
  const tokens = identification
    .challenges(undefined, request.headers.host)
    .some((challenge) => /^bearer\b/i.test(challenge));
  // The realm of a token service is not for this: what it gives is for repositories.
  const challenges = [
    'Basic realm="pierhead admin", charset="UTF-8"',
    ...(tokens ? ['Bearer realm="pierhead admin"'] : []),
  ];
  return { status: 401, reason, challenges };
}

function tooMany(retryAfterSeconds: number): NoOperator {
  return { status: 429, reason: 'too many tries from your address: wait', retryAfterSeconds };
}
