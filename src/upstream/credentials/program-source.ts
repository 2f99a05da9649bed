import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { CredentialError, UpstreamError } from '../upstream.ts';
import { sameCredentials, type Credentials, type CredentialSource } from './credential-source.ts';
import { OutputError, type ReadOutput } from './program-output.ts';
import { runProgram, type Program, type ProgramEnd } from './run-program.ts';

/** With this part of their life left, credentials in use are renewed behind the scenes. */
const REFRESH_SHARE = 0.25;
const FIRST_PAUSE = seconds(1);
const LONGEST_PAUSE = seconds(60);
/** Between two runs because of a 401: a repository that is closed to us must not run the program at each question. */
const REFUSAL_PAUSE = seconds(30);
/** What docker's helpers print, on their standard output, when they have nothing for the server. */
const NOT_FOUND = 'credentials not found in native keychain';

const FAILURES = { missing: 'missing', timeout: 'timeout', 'too long': 'output', killed: 'exit' } as const;

export interface ProgramSourceOptions {
  readonly upstream: string;
  readonly identity: string;
  readonly program: Program;
  readonly read: ReadOutput;
  /** How long credentials without an expiry are used before the program is asked again. */
  readonly ttl: Milliseconds;
}

export interface ProgramSourceParts {
  readonly clock: Clock;
  readonly onFailure: (error: CredentialError) => void;
}

interface Held {
  readonly credentials: Credentials;
  /** On the monotonic clock, as `expires`. */
  readonly refreshFrom: Milliseconds;
  readonly expires: Milliseconds;
  /** On the wall clock, which goes on while the machine sleeps. */
  readonly expiresAt: Milliseconds;
}

/**
 * Credentials that a program prints. One run at a time, however many ask, and it belongs to none of them. What it gave
 * is remembered until it expires, and renewed before that while it is used; after a failure there is a pause, in which
 * everybody gets that failure at once.
 */
export class ProgramSource implements CredentialSource {
  readonly identity: string;
  readonly #options: ProgramSourceOptions;
  readonly #parts: ProgramSourceParts;
  readonly #runs = new SingleFlight<'run', Credentials>();
  readonly #closing = new AbortController();
  #held: Held | undefined;
  #failure:
    { readonly error: CredentialError; readonly pause: Milliseconds; readonly until: number } | undefined;
  #nextRefusal = 0;

  constructor(options: ProgramSourceOptions, parts: ProgramSourceParts) {
    this.identity = options.identity;
    this.#options = options;
    this.#parts = parts;
  }

  async get(): Promise<Credentials> {
    const { clock } = this.#parts;
    const held = this.#held;
    const now = clock.monotonic();
    if (held === undefined || now >= held.expires || clock.now() >= held.expiresAt) return await this.#run();
    // A failure was told by the event; what is held still serves.
    if (now >= held.refreshFrom) this.#run().catch(() => undefined);
    return held.credentials;
  }

  async renew(refused: Credentials): Promise<Credentials | undefined> {
    if (this.#held !== undefined && sameCredentials(this.#held.credentials, refused)) {
      const now = this.#parts.clock.monotonic();
      if (now < this.#nextRefusal) return undefined;
      this.#nextRefusal = now + REFUSAL_PAUSE;
      this.#held = undefined;
    }
    const renewed = await this.get();
    return sameCredentials(renewed, refused) ? undefined : renewed;
  }

  close(): void {
    this.#closing.abort();
  }

  /** @throws {CredentialError} the last one, during the pause after it. */
  async #run(): Promise<Credentials> {
    return await this.#runs.run('run', async () => {
      const { clock, onFailure } = this.#parts;
      const last = this.#failure;
      if (last !== undefined && clock.monotonic() < last.until) throw last.error;
      if (this.#closing.signal.aborted) throw this.#closed();
      const startedAt = clock.monotonic();
      const end = await runProgram(this.#options.program, clock, this.#closing.signal);
      if (this.#closing.signal.aborted) throw this.#closed();
      try {
        return this.#hold(this.#credentialsIn(end), startedAt);
      } catch (error) {
        if (!(error instanceof CredentialError)) throw error;
        const pause = ms(Math.min(last === undefined ? FIRST_PAUSE : last.pause * 2, LONGEST_PAUSE));
        this.#failure = { error, pause, until: clock.monotonic() + pause };
        onFailure(error);
        throw error;
      }
    });
  }

  #hold(credentials: Credentials, startedAt: Milliseconds): Credentials {
    const { clock } = this.#parts;
    const now = clock.monotonic();
    const life =
      credentials.expiresAt === undefined ? this.#options.ttl : credentials.expiresAt - clock.now();
    if (life <= 0) throw this.#failed('expired', 'gave credentials that have expired: is the clock right?');
    // A ttl counts from before the program looked.
    const from = credentials.expiresAt === undefined ? startedAt : now;
    this.#held = {
      credentials,
      refreshFrom: ms(from + life * (1 - REFRESH_SHARE)),
      expires: ms(from + life),
      expiresAt: ms(clock.now() + life),
    };
    this.#failure = undefined;
    return credentials;
  }

  #credentialsIn(end: ProgramEnd): Credentials {
    if (end.kind !== 'done') throw this.#failed(FAILURES[end.kind], end.why);
    if (end.code !== 0) {
      if (end.output.trim() === NOT_FOUND)
        throw this.#failed(
          'absent',
          `has no credentials for ${this.#options.program.input}: log in to it first`,
        );
      const said = end.complaint === '' ? '' : `: ${end.complaint}`;
      throw this.#failed('exit', `ended with code ${end.code}${said}`);
    }
    try {
      return this.#options.read(end.output);
    } catch (error) {
      if (!(error instanceof OutputError)) throw error;
      throw this.#failed('output', error.message);
    }
  }

  #failed(failure: CredentialError['failure'], what: string): CredentialError {
    const { upstream, program } = this.#options;
    return new CredentialError(failure, `credentials of ${upstream}: ${program.file} ${what}`);
  }

  #closed(): UpstreamError {
    return new UpstreamError('suspended', `${this.#options.upstream}: the client is closed`);
  }
}
