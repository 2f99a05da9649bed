import { parseDigest, type Digest } from './digest.ts';
import { parsePlatform, type Platform } from './platform.ts';

/** A manifest that an index names. */
export interface IndexChild {
  readonly digest: Digest;
  /** Undefined when the index does not say: a nested index, an artifact. */
  readonly platform: Platform | undefined;
}

/** The children of an index that has been admitted, so that its form is known to be right; in its order. */
export function indexChildren(content: Uint8Array): IndexChild[] {
  const { manifests } = JSON.parse(new TextDecoder().decode(content)) as { manifests: Descriptor[] };
  return manifests.flatMap(({ digest, urls, platform }) => {
    const parsed = parseDigest(digest);
    // As in `parseManifest`: what has `urls` lives elsewhere.
    if (parsed === undefined || (Array.isArray(urls) && urls.length > 0)) return [];
    return [{ digest: parsed, platform: readPlatform(platform) }];
  });
}

interface Descriptor {
  readonly digest: string;
  readonly urls?: unknown;
  readonly platform?: unknown;
}

function readPlatform(value: unknown): Platform | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { os, architecture, variant } = value as Record<string, unknown>;
  // Through the parser: these words are shown on terminals.
  return parsePlatform(
    [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])].join('/'),
  );
}
