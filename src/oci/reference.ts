import type { Brand } from '../lib/brand.ts';
import { parseDigest, type Digest } from './digest.ts';

/** A `<tag>` of the OCI distribution spec: at most 128 characters. */
export type Tag = Brand<string, 'Tag'>;
/** What stands after `/manifests/`: a digest names bytes for ever, a tag names them for now. */
export type Reference =
  { readonly kind: 'digest'; readonly digest: Digest } | { readonly kind: 'tag'; readonly tag: Tag };

const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

export function parseTag(text: string): Tag | undefined {
  return TAG.test(text) ? (text as Tag) : undefined;
}

export function parseReference(text: string): Reference | undefined {
  if (text.includes(':')) {
    const digest = parseDigest(text);
    return digest && { kind: 'digest', digest };
  }
  const tag = parseTag(text);
  return tag && { kind: 'tag', tag };
}

export function referenceText(reference: Reference): string {
  return reference.kind === 'digest' ? reference.digest : reference.tag;
}
