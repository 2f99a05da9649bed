import { parseDigest } from './digest.ts';
import { parseTag, referenceText, type Reference } from './reference.ts';
import { parseRepositoryName } from './repository-name.ts';
import { repositoryKey, type RepositoryRef } from './repository-ref.ts';

/** A manifest of a repository of one upstream: what people call an image. */
export interface ImageReference {
  readonly repository: RepositoryRef;
  readonly reference: Reference;
}

/** What an image's name is read against. */
export interface UpstreamName {
  readonly name: string;
  readonly default: boolean;
  /** Where a one-word name belongs (`library` at Docker Hub). */
  readonly officialNamespace: string | undefined;
}

export const IMAGE_FORM = 'an image: alpine, library/alpine:3.20, ghcr.io/org/app@sha256:...';

const DOCKER_HUB_NAMES = ['docker.io', 'index.docker.io'];

/** `UPSTREAM/NAME:TAG` or `UPSTREAM/NAME@DIGEST`: whole, so that it can be read back without knowing the upstreams. */
export function imageText({ repository, reference }: ImageReference): string {
  return `${repositoryKey(repository)}${reference.kind === 'tag' ? ':' : '@'}${referenceText(reference)}`;
}

/** Reads what {@link imageText} wrote. */
export function parseImageText(text: string): ImageReference | undefined {
  const slash = text.indexOf('/');
  return slash < 1 ? undefined : within(text.slice(0, slash), text.slice(slash + 1), undefined);
}

/**
 * Reads an image as a person writes it, by docker's rules: a first component with a dot or a colon names a registry,
 * the tag is `latest` unless it is said, a digest beats a tag. The problem is worded to follow `got "...":`.
 */
export function parseImage(
  text: string,
  upstreams: readonly UpstreamName[],
): { readonly image: ImageReference } | { readonly problem: string } {
  const [first = '', ...rest] = text.split('/');
  const named =
    rest.length === 0
      ? undefined
      : (upstreams.find(({ name }) => name === first) ??
        (DOCKER_HUB_NAMES.includes(first)
          ? upstreams.find(({ officialNamespace }) => officialNamespace !== undefined)
          : undefined));
  const known = upstreams.map(({ name }) => name).join(', ');
  if (named === undefined && rest.length > 0 && (/[.:]/.test(first) || first === 'localhost'))
    return { problem: `there is no upstream ${first}; this edge has ${known}` };
  const upstream = named ?? upstreams.find((each) => each.default);
  if (upstream === undefined) return { problem: `the upstream has to be named; this edge has ${known}` };
  const path = named === undefined ? text : rest.join('/');
  const image = within(upstream.name, path, upstream.officialNamespace);
  return image === undefined ? { problem: `takes ${IMAGE_FORM}` } : { image };
}

function within(upstream: string, path: string, namespace: string | undefined): ImageReference | undefined {
  const at = path.indexOf('@');
  const tagged = at === -1 ? path : path.slice(0, at);
  const colon = tagged.lastIndexOf(':');
  const bare = colon === -1 ? tagged : tagged.slice(0, colon);
  const official = namespace !== undefined && !bare.includes('/');
  const name = parseRepositoryName(official ? `${namespace}/${bare}` : bare);
  const tag = parseTag(colon === -1 ? 'latest' : tagged.slice(colon + 1));
  if (name === undefined || tag === undefined) return undefined;
  const repository = { upstream, name };
  if (at === -1) return { repository, reference: { kind: 'tag', tag } };
  const digest = parseDigest(path.slice(at + 1));
  return digest && { repository, reference: { kind: 'digest', digest } };
}
