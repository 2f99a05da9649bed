import { readFileSync } from 'node:fs';

/** Of the package that this file belongs to, in `src/` and in `dist/` alike. */
export function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
