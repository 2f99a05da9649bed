import type { Brand } from '../lib/brand.ts';

/** A `<name>` of the OCI distribution spec, as the upstream knows it. */
export type RepositoryName = Brand<string, 'RepositoryName'>;

/** Docker and containerd refuse longer names; so do file systems, with a host in front. */
const MAX_LENGTH = 255;
// Anchored, and each separator is followed by at least one alphanumeric: linear on any input.
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

export function parseRepositoryName(text: string): RepositoryName | undefined {
  if (text.length === 0 || text.length > MAX_LENGTH) return undefined;
  for (const component of text.split('/')) if (!COMPONENT.test(component)) return undefined;
  return text as RepositoryName;
}
