import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { classifyAddress } from '../../src/upstream/address-policy.ts';
import type { Milliseconds } from '../../src/lib/brand.ts';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.ts';
import {
  UpstreamClient,
  type UpstreamClientOptions,
  type UpstreamClientParts,
} from '../../src/upstream/upstream-client.ts';
import {
  UpstreamError,
  type TokenStore,
  type UpstreamQuestion,
  type UpstreamResponse,
} from '../../src/upstream/upstream.ts';
import { FakeClock } from '../support/fake-clock.ts';

export class MemoryTokenStore implements TokenStore {
  readonly values = new Map<string, Uint8Array>();

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.values.get(key);
  }

  async put(key: string, value: Uint8Array, _expiresAt: Milliseconds): Promise<void> {
    this.values.set(key, value);
  }

  async delete(key: string): Promise<void> {
    this.values.delete(key);
  }
}

/** Stands for a public address: all tests are on the loopback interface. */
export const PUBLIC_ADDRESS = '127.9.9.9';
export const pretendPublic: typeof classifyAddress = (address) =>
  address === PUBLIC_ADDRESS ? 'public' : classifyAddress(address);

export interface Fixture {
  readonly client: UpstreamClient;
  readonly clock: FakeClock;
  readonly tokens: MemoryTokenStore;
  /** The names of the events, with their arguments, in order. */
  readonly events: string[];
}

export function fixture(
  t: Test,
  urls: string | readonly string[],
  options: Partial<UpstreamClientOptions> = {},
  parts: Partial<UpstreamClientParts> = {},
): Fixture {
  const clock = new FakeClock();
  const tokens = new MemoryTokenStore();
  const events: string[] = [];
  const client = new UpstreamClient(
    { name: 'up', urls: typeof urls === 'string' ? [urls] : urls, authHosts: [], ...options },
    {
      clock,
      tokens,
      random: () => 0.5,
      classify: pretendPublic,
      events: {
        answered: (_, status) => events.push(`answered ${status}`),
        failed: (_, kind) => events.push(`failed ${kind}`),
        tokenFetched: (_, outcome) => events.push(`token ${outcome}`),
        credentialsFailed: (_, failure) => events.push(`credentials ${failure}`),
        quota: (_, { limit, remaining }) => events.push(`quota ${remaining} of ${limit}`),
        state: (_, __, healthy) => events.push(`healthy ${healthy}`),
      },
      ...parts,
    },
  );
  t.teardown(() => client.close());
  return { client, clock, tokens, events };
}

export function repository(name = 'library/alpine'): RepositoryName {
  const parsed = parseRepositoryName(name);
  if (parsed === undefined) throw new Error(`no repository name: ${name}`);
  return parsed;
}

export function question(over: Partial<UpstreamQuestion> = {}): UpstreamQuestion {
  return { method: 'GET', repository: repository(), path: 'manifests/latest', attempts: 1, ...over };
}

/** Asks, and reads the body to its end. */
export async function asked(
  client: UpstreamClient,
  over: Partial<UpstreamQuestion> = {},
): Promise<{ status: number; headers: UpstreamResponse['headers']; body: string }> {
  const { status, headers, body } = await client.ask(question(over));
  return { status, headers, body: await text(body) };
}

export async function failureOf(answer: Promise<unknown>): Promise<UpstreamError> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof UpstreamError) return error;
    throw error;
  }
  throw new Error('it was answered');
}

/** What a promise rejects with, itself. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}
