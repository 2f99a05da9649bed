import type { AuditAction, AuditEntry } from '../../audit/audit-entry.ts';
import type { ErrorCode } from '../../oci/error-codes.ts';
import { parseDigest } from '../../oci/digest.ts';
import type { Route } from '../../registry/route.ts';

export interface Audited {
  readonly route: Route['kind'] | 'token' | 'none';
  readonly method: string | undefined;
  readonly address: string;
  readonly user?: string | undefined;
  /** How they are known. */
  readonly by?: string | undefined;
  /** What let the caller in. */
  readonly granted?: string | undefined;
  /** Why the caller was refused; they may have been told that it is not there. */
  readonly denied?: string | undefined;
  readonly upstream?: string | undefined;
  readonly repository?: string | undefined;
  readonly reference?: string | undefined;
  readonly status: number;
  /** Sent to the client. */
  readonly bytes: number;
  /** Of a push that came from the client. */
  readonly received?: number | undefined;
  readonly requestId: string;
  /** Of an answer that is an error. */
  readonly error?: ErrorCode | undefined;
}

/** Errors that say no to the caller; all others say what there is, or that the edge or an upstream could not. */
const DENIALS: ReadonlySet<string> = new Set([
  'DENIED',
  'UNAUTHORIZED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
  'NAME_INVALID',
  'DIGEST_INVALID',
  'SIZE_INVALID',
]);

const ACTIONS: Readonly<Record<Audited['route'], AuditAction>> = {
  ping: 'ping',
  manifest: 'pull',
  blob: 'pull',
  tags: 'list',
  referrers: 'list',
  catalog: 'list',
  upload: 'push',
  token: 'login',
  none: 'none',
};

/** What goes on record of a request. A ping that was answered has decided nothing: undefined. */
export function auditEntryOf(audited: Audited): Omit<AuditEntry, 'timestamp'> | undefined {
  const { error, upstream, repository, reference } = audited;
  const denied = audited.denied ?? (error !== undefined && DENIALS.has(error) ? error : undefined);
  const decision = denied === undefined ? 'allow' : 'deny';
  const action = actionOf(audited);
  if (action === 'ping' && decision === 'allow') return undefined;
  return {
    action,
    user: audited.user ?? 'anonymous',
    ip: audited.address,
    ...(repository !== undefined && { repository: `${upstream}/${repository}` }),
    ...named(reference),
    decision,
    reason: denied ?? letInBy(audited),
    status: audited.status,
    bytes: audited.received ?? audited.bytes,
    requestId: audited.requestId,
  };
}

/** What became of it as well, where that is an error: `network; MANIFEST_UNKNOWN`. */
function letInBy({ granted, by: known = 'network', error }: Audited): string {
  const by = granted ?? known;
  return error === undefined ? by : `${by}; ${error}`;
}

export function actionOf({ route, method }: Pick<Audited, 'route' | 'method'>): AuditAction {
  if (route === 'token') return ACTIONS.token;
  if (method === 'DELETE' && route !== 'upload') return 'delete';
  if (method === 'PUT' || method === 'POST' || method === 'PATCH') return 'push';
  return ACTIONS[route];
}

function named(reference: string | undefined): { tags: string[] } | { digest: string } | undefined {
  if (reference === undefined) return undefined;
  return parseDigest(reference) === undefined ? { tags: [reference] } : { digest: reference };
}
