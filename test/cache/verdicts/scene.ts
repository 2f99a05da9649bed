import type { Test } from 'tap';
import { Access, type Wanted } from '../../../src/access/authorize.ts';
import type { Caller } from '../../../src/access/caller.ts';
import { NO_IDENTIFICATION } from '../../../src/access/identification.ts';
import { Roles } from '../../../src/access/roles.ts';
import type { EdgeCache } from '../../../src/cache/edge-cache.ts';
import { ms, type Milliseconds } from '../../../src/lib/brand.ts';
import { systemClock, type Clock } from '../../../src/lib/clock.ts';
import { RegistryError } from '../../../src/oci/error-codes.ts';
import type { GrantedRepository } from '../../../src/oci/granted.ts';
import { KnownVerdicts } from '../../../src/registry/verdicts/known-verdicts.ts';
import { startCentral, type Central, type CentralOptions } from '../../support/central.ts';
import { get } from '../../support/clients.ts';
import { CacheSite, digest, readAll, reference, repository, type SiteOptions } from '../cache-site.ts';

export const USERS = { ada: 'canary-ada', bob: 'canary-bob' };
export const PRIVATE = 'team/app';

/** Real time, and as much more as a test says: sleeps are short here, lifetimes are not. */
export class ShiftedClock implements Clock {
  #ahead = 0;

  now(): Milliseconds {
    return ms(systemClock.now() + this.#ahead);
  }

  monotonic(): Milliseconds {
    return ms(systemClock.monotonic() + this.#ahead);
  }

  sleep(duration: Milliseconds, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(duration, signal);
  }

  pass(duration: number): void {
    this.#ahead += duration;
  }
}

export interface Scene {
  readonly central: Central;
  readonly site: CacheSite;
  readonly clock: ShiftedClock;
  /** Who may read {@link PRIVATE}; a token says what held when it was made. */
  readonly readers: Set<string>;
  readonly worker: () => Worker;
  /** `Authorization` with a new token for {@link PRIVATE}. */
  readonly bearer: (user: keyof typeof USERS) => Promise<string>;
}

export interface SceneOptions extends SiteOptions {
  readonly mode?: 'token' | 'basic';
  readonly central?: Central;
  readonly centralOptions?: CentralOptions;
}

/** A central whose private repository one of two users may read, and an edge in front of it. */
export async function scene(t: Test, options: SceneOptions = {}): Promise<Scene> {
  const clock = new ShiftedClock();
  const readers = new Set(['ada']);
  const mayPull = (user: string | undefined, name: string): boolean =>
    !name.startsWith('team/') || (user !== undefined && readers.has(user));
  const auth = { mode: options.mode ?? 'token', users: USERS, mayPull } as const;
  const central = options.central ?? (await startCentral({ auth, clock, ...options.centralOptions }));
  t.teardown(() => central.stop());
  const site = await CacheSite.open(t, central, { clock, ...options });
  return {
    central,
    site,
    clock,
    readers,
    worker: () => workerOf(site, clock),
    bearer: async (user) => {
      const url = `${central.issuerUrl}?service=central&scope=repository:${PRIVATE}:pull`;
      const { body } = await get(url, { headers: { authorization: basic(user) }, keepBody: true });
      return `Bearer ${(JSON.parse(body.toString()) as { token: string }).token}`;
    },
  };
}

/** As a worker treats requests: access, then the cache. What a client would be answered, in a word. */
export interface Worker {
  readonly edge: EdgeCache;
  readonly access: Access;
  manifest(authorization: string | undefined, of: string, name?: string): Promise<string>;
  /** The content, or what stands for it. */
  blob(authorization: string | undefined, of: string, name?: string): Promise<Buffer | string>;
  head(authorization: string | undefined, of: string, name?: string): Promise<string>;
  tags(authorization: string | undefined, name?: string): Promise<string>;
  ping(authorization?: string): Promise<string>;
}

function workerOf(site: CacheSite, clock: Clock): Worker {
  const edge = site.worker();
  const session = site.core.connect(() => undefined);
  const access = new Access({
    identification: NO_IDENTIFICATION,
    roles: new Roles([], 'upstream'),
    forbiddenNames: [],
    verdicts: new KnownVerdicts(session, clock),
  });
  const granted = async (
    authorization: string | undefined,
    name: string,
    object: Wanted['object'],
  ): Promise<GrantedRepository> => {
    const { upstream, name: parsed } = repository(name);
    const ref = { upstream, name: parsed };
    const wanted = { repository: ref, name: parsed, action: 'pull', object, host: undefined } as const;
    return await access.authorize(callerOf(authorization), wanted);
  };
  return {
    edge,
    access,
    manifest: (authorization, of, name = PRIVATE) =>
      inAWord(async () => {
        const parsed = reference(of);
        const object = { kind: 'manifest', reference: parsed } as const;
        const answer = await edge.manifest(await granted(authorization, name, object), parsed);
        return answer.kind === 'manifest' ? answer.result : answer.kind;
      }),
    blob: (authorization, of, name = PRIVATE) =>
      inAWord<Buffer | string>(async () => {
        const object = { kind: 'blob', digest: digest(of) } as const;
        const found = await edge.blob(await granted(authorization, name, object), object.digest);
        if (found.kind !== 'blob') return found.kind;
        const { content, error } = await readAll(found.body);
        return error === undefined ? content : `broken after ${content.byteLength}`;
      }),
    head: (authorization, of, name = PRIVATE) =>
      inAWord(async () => {
        const object = { kind: 'blob', digest: digest(of) } as const;
        return (await edge.blobSize(await granted(authorization, name, object), object.digest)).kind;
      }),
    tags: (authorization, name = PRIVATE) =>
      inAWord(async () => {
        const page = { n: undefined, last: undefined, cursor: undefined };
        const answer = await edge.tags(await granted(authorization, name, undefined), page);
        return answer.kind === 'listing' ? Buffer.from(answer.entries).toString() : answer.kind;
      }),
    ping: (authorization) =>
      inAWord(async () => {
        await access.ping(callerOf(authorization), () => 'central');
        return 'in';
      }),
  };
}

export function callerOf(authorization: string | undefined): Caller {
  return { address: '127.0.0.1', identity: undefined, authorization };
}

export function basic(user: keyof typeof USERS, password: string = USERS[user]): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

async function inAWord<T>(work: () => Promise<T>): Promise<T | string> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RegistryError) return error.code;
    throw error;
  }
}
