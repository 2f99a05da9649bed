import { StoreError, type StoreFailure } from '../metadata-store.ts';

/** Why a call did not get what it asked for; few and fixed, fit for a metric's label. */
export type RedisFailureKind =
  'timeout' | 'connection' | 'paused' | 'full' | 'readonly' | 'denied' | 'refused' | 'corrupt';

/**
 * A call that failed. The message holds only an error code: Redis repeats arguments in its errors ("unknown command
 * 'AUTH', with args beginning with …"), and ioredis hangs the whole command on them. For the same reason there is no
 * cause.
 */
export class RedisError extends StoreError {
  readonly failure: RedisFailureKind;

  constructor(failure: RedisFailureKind, message: string) {
    super(STORE_FAILURES[failure] ?? 'unavailable', message);
    this.name = 'RedisError';
    this.failure = failure;
  }

  /** Nothing came back, so the next call is not worth its wait. */
  get silent(): boolean {
    return this.failure === 'timeout' || this.failure === 'connection';
  }
}

const STORE_FAILURES: Readonly<Partial<Record<RedisFailureKind, StoreFailure>>> = {
  full: 'full',
  corrupt: 'corrupt',
};

const ANSWERS: Readonly<Record<string, readonly [RedisFailureKind, string]>> = {
  OOM: ['full', 'Redis has reached its maxmemory'],
  MISCONF: ['full', 'Redis cannot write to its disk and takes no changes'],
  READONLY: ['readonly', 'Redis is a read-only replica'],
  NOPERM: ['denied', 'the Redis user may not do this: mend its ACL'],
  NOAUTH: ['denied', 'Redis wants a password: set redis.password'],
  WRONGPASS: ['denied', 'Redis refuses redis.username and redis.password'],
  WRONGTYPE: ['corrupt', 'something else stands under the key in Redis'],
  CLUSTERDOWN: ['connection', 'the Redis cluster is down'],
  LOADING: ['connection', 'Redis still loads its data'],
  MASTERDOWN: ['connection', 'the Redis replica has lost its master'],
};

/** Any error of ioredis or of a socket, without what it may hold of commands and addresses. */
export function redisError(error: unknown): RedisError {
  if (error instanceof RedisError) return error;
  const { name, message, code } = facts(error);
  if (name === 'ParserError') return new RedisError('connection', 'what answers there is not Redis');
  if (name === 'ReplyError') {
    const [inner] = errorsBefore(error);
    if (inner !== undefined) return redisError(inner);
    const answer = /^[A-Z]{2,20}\b/.exec(message)?.[0] ?? 'ERR';
    const [failure, text] = ANSWERS[answer] ?? (['refused', `Redis answered ${answer}`] as const);
    return new RedisError(failure, text);
  }
  if (code !== undefined) return new RedisError('connection', `Redis cannot be reached (${code})`);
  if (message.includes('All sentinels are unreachable'))
    return new RedisError('connection', 'no Sentinel answers for redis.name');
  if (message.startsWith('Ready check failed: ')) {
    const inner = message.slice('Ready check failed: '.length);
    return redisError(Object.assign(new Error(inner), { name: 'ReplyError' }));
  }
  return new RedisError('connection', 'the connection to Redis is down');
}

/** Why a transaction was discarded: what Redis said of its commands. */
function errorsBefore(error: unknown): readonly unknown[] {
  const known = error instanceof Error && 'previousErrors' in error && Array.isArray(error.previousErrors);
  return known ? (error.previousErrors as unknown[]) : [];
}

function facts(error: unknown): { name: string; message: string; code: string | undefined } {
  if (!(error instanceof Error)) return { name: '', message: '', code: undefined };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { name: error.name, message: error.message, code: /^[A-Z_0-9]{2,60}$/.exec(code ?? '')?.[0] };
}
