import type { IncomingHttpHeaders } from 'node:http';
import type { PushNotice } from '../../cache/keeper.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/error-codes.ts';
import type { GrantedRepository } from '../../oci/granted.ts';
import { referenceText, type Reference } from '../../oci/reference.ts';
import { parseRepositoryName, type RepositoryName } from '../../oci/repository-name.ts';
import type { Answer } from '../answer.ts';
import type { Route } from '../route.ts';
import { UploadLocations, type PushUpstream } from './upload-locations.ts';
import {
  acceptedAnswer,
  checkStatus,
  headerOf,
  refusedAnswer,
  type UpstreamReply,
} from './upstream-reply.ts';

export type PushRoute = Extract<Route, { kind: 'manifest' | 'blob' | 'upload' }>;

/** A push, after the caller was let in. */
export interface Push {
  readonly upstream: PushUpstream;
  readonly route: PushRoute;
  readonly method: string;
  readonly repository: GrantedRepository;
  readonly namespace: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export interface PushParts {
  /** The repository that a client means, if it may read it. */
  readonly readable: (name: RepositoryName) => Promise<GrantedRepository | undefined>;
  /** Sends the client's body there. `target` is path and query. */
  readonly send: (target: string, headers: Record<string, string>) => Promise<UpstreamReply>;
  readonly changed: (notice: PushNotice) => Promise<void>;
}

/**
 * What goes on of a client's headers. Hop-by-hop headers end here, and so do `X-Forwarded-*`: a registry would make the
 * `Location` of an upload out of them. `Authorization` is the client's own: the edge's credentials are for pulls.
 */
const PASSED_HEADERS = [
  'accept',
  'authorization',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'user-agent',
] as const;
/** What containers/image sends when it has no credentials. */
const NO_CREDENTIALS = /^basic og==$/i;
/** Of a new upload; all others stay here. */
const UPLOAD_PARAMETERS = ['digest', 'digest-algorithm'];

/** Passes a push on to its upstream, and what it did there on to the cache. */
export async function answerPush(push: Push, parts: PushParts): Promise<Answer> {
  const { upstream, route, repository, namespace } = push;
  const locations = new UploadLocations(upstream, {
    upstream: repository.name,
    client: route.name,
    namespace,
  });
  const reply = await parts.send(await targetOf(push, locations, parts), passedHeaders(push));
  checkStatus(reply);
  if (reply.status >= 400) {
    return await refusedAnswer(reply, push.method === 'HEAD', locationOfRefused(push, reply, locations));
  }
  const location = locationOf(push, reply, locations);
  const notice = noticeOf(push, reply);
  if (notice !== undefined) await parts.changed(notice);
  return await acceptedAnswer(reply, location);
}

async function targetOf(push: Push, locations: UploadLocations, parts: PushParts): Promise<string> {
  const { route } = push;
  switch (route.kind) {
    case 'manifest':
      return locations.path(`manifests/${referenceText(route.reference)}`);
    case 'blob':
      return locations.path(`blobs/${route.digest}`);
    case 'upload': {
      if (route.session !== undefined) return locations.forUpstream(route.session, route.search);
      const query = await newUploadQuery(push, route.search, locations, parts);
      return locations.path(`blobs/uploads/${query === '' ? '' : `?${query}`}`);
    }
  }
}

/**
 * A mount names its source as this edge does. From another upstream, or from where the caller may not read, there is no
 * mount: the registry answers 202 and the client uploads, as the spec has it. Nor is there one without `from`: a registry may then look
 * through repositories that this caller may not see here.
 */
async function newUploadQuery(
  { upstream }: Push,
  search: string,
  locations: UploadLocations,
  parts: PushParts,
): Promise<string> {
  const asked = new URLSearchParams(search);
  const query = new URLSearchParams();
  for (const name of UPLOAD_PARAMETERS) {
    const value = asked.get(name);
    if (value !== null) query.set(name, value);
  }
  const mount = parseDigest(asked.get('mount') ?? '');
  const from = parseRepositoryName(asked.get('from') ?? '');
  const source = mount && from && (await parts.readable(from));
  if (source?.upstream === upstream.name) {
    query.set('mount', mount ?? '');
    query.set('from', locations.repository(source.name));
  }
  // As clients write it: a registry need not take an escaped colon for one.
  return query.toString().replaceAll('%3A', ':').replaceAll('%2F', '/');
}

function passedHeaders({ upstream, headers }: Push): Record<string, string> {
  const passed: Record<string, string> = { host: upstream.url.host, 'accept-encoding': 'identity' };
  for (const name of PASSED_HEADERS) {
    const value = headers[name];
    if (value === undefined || (name === 'authorization' && NO_CREDENTIALS.test(value))) continue;
    passed[name] = value;
  }
  return passed;
}

/** The spec wants one with every answer to an upload, and without it the client cannot go on. */
function locationOf(push: Push, reply: UpstreamReply, locations: UploadLocations): string | undefined {
  const { route, method } = push;
  const said = headerOf(reply, 'location');
  if (reply.status === 201) {
    const digest = digestOf(push, reply);
    // Made here: where the upstream keeps what is whole is of no use to a client of this edge.
    if (route.kind === 'manifest')
      return locations.here(`manifests/${digest ?? referenceText(route.reference)}`);
    return digest && locations.here(`blobs/${digest}`);
  }
  if (route.kind !== 'upload') return undefined;
  try {
    if (said !== undefined) return locations.forClient(said);
    if (method === 'POST' || method === 'PATCH')
      throw new RegistryError(
        'BAD_UPSTREAM',
        'the upstream took the upload but did not say where it goes on',
      );
    return undefined;
  } catch (error) {
    reply.body.destroy();
    throw error;
  }
}

/** With 416 a registry may say where the upload goes on; anything unusable is left out. */
function locationOfRefused(push: Push, reply: UpstreamReply, locations: UploadLocations): string | undefined {
  const said = push.route.kind === 'upload' ? headerOf(reply, 'location') : undefined;
  try {
    return said && locations.forClient(said);
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

function noticeOf(push: Push, reply: UpstreamReply): PushNotice | undefined {
  const { route, repository, method } = push;
  const gone = method === 'DELETE';
  if (route.kind === 'manifest') {
    const digest = gone ? undefined : digestOf(push, reply);
    const references: Reference[] = [route.reference];
    if (digest !== undefined) references.push({ kind: 'digest', digest });
    return { kind: 'manifest', repository, references, gone };
  }
  if (route.kind === 'blob') return { kind: 'blob', repository, digest: route.digest, gone };
  const digest = reply.status === 201 ? digestOf(push, reply) : undefined;
  return digest && { kind: 'blob', repository, digest, gone: false };
}

/** What was put, as the upstream names it, else as the client did. */
function digestOf({ route }: Push, reply: UpstreamReply): Digest | undefined {
  const said = parseDigest(headerOf(reply, 'docker-content-digest') ?? '');
  if (said !== undefined || route.kind !== 'upload') return said;
  const asked = new URLSearchParams(route.search);
  return parseDigest(asked.get('digest') ?? asked.get('mount') ?? '');
}
