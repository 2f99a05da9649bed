import { z } from 'zod';
import { HOST_FORM, parseHost, parseUpstreamName, UPSTREAM_NAME_FORM } from './addresses.ts';
import type { UpstreamName } from '../oci/image-reference.ts';
import type { UpstreamConfig } from './config.ts';
import { DOCKER_HUB } from './defaults.ts';
import { booleanField, field, listOf, section, textField, unavailable } from './fields.ts';
import { refusal } from './problem.ts';
import { readCertificates, readSecret, type Surroundings } from './secrets.ts';

export const URL_FORM =
  'an http:// or https:// URL without user info (that is what credentials are for), query or fragment';

/** Without the slash at the end, so that `/v2/...` can be put after it. */
export function parseUpstreamUrl(text: string): string | undefined {
  // The URL parser mends more than a configuration should: blanks, a missing slash, a lone `?`.
  if (!/^https?:\/\/[^\s\\?#]+$/i.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') return undefined;
  return url.origin + url.pathname.replace(/\/+$/, '');
}

/** The `upstreams` of a file, each as it is written; the rules that span several are checked here too. */
export function upstreamsSchema(surroundings: Surroundings) {
  return listOf(entrySchema(surroundings), 'an upstream each, with name and url').superRefine(checkTogether, {
    // Also when an entry is wrong by itself, so that all problems are told at once. What is looked at may then
    // be of any type.
    when: ({ value }) => Array.isArray(value),
  });
}

type UpstreamEntry = z.output<ReturnType<typeof entrySchema>>;

function entrySchema(surroundings: Surroundings) {
  const credentials = section({
    username: z
      .string({ error: ({ input }) => refusal(input, 'a text (a number needs quotes)') })
      .min(1, { error: 'is empty; takes a text' }),
    password: field((input) => readSecret(input, surroundings)),
  });
  const url = textField(parseUpstreamUrl, URL_FORM);
  const host = textField(parseHost, HOST_FORM);
  return section({
    name: textField(parseUpstreamName, UPSTREAM_NAME_FORM),
    url,
    urls: listOf(url, 'further URLs, in order of preference').default([]),
    hosts: listOf(host, 'the Host headers that choose this upstream').default([]),
    default: booleanField().default(false),
    credentials: credentials.optional(),
    authHosts: listOf(host, 'hosts that may be asked for tokens').default([]),
    ca: field((input) => readCertificates(input, surroundings)).optional(),
    push: unavailable(false),
  });
}

/**
 * Complete upstreams. `overridingUrl` takes the place of the default upstream's `url`, and what is built in for a
 * known registry follows the URLs as they are then.
 */
export function completeUpstreams(
  entries: readonly UpstreamEntry[] | undefined,
  overridingUrl: string | undefined,
): UpstreamConfig[] {
  const listed = entries ?? [
    { name: DOCKER_HUB.name, url: DOCKER_HUB.url, urls: [], hosts: [], default: true, authHosts: [] },
  ];
  return listed.map((entry) => {
    const isDefault = entry.default || listed.length === 1;
    const url = isDefault && overridingUrl !== undefined ? overridingUrl : entry.url;
    const urls = [...new Set([url, ...entry.urls])];
    return {
      name: entry.name,
      urls,
      hosts: entry.hosts,
      default: isDefault,
      ...(entry.credentials === undefined ? {} : { credentials: entry.credentials }),
      authHosts: [...new Set([...builtInAuthHosts(urls), ...entry.authHosts])],
      ...(entry.ca === undefined ? {} : { ca: entry.ca }),
      push: false,
    };
  });
}

/** What an image's name is read against. */
export function upstreamNames(upstreams: readonly UpstreamConfig[]): UpstreamName[] {
  return upstreams.map(({ name, default: isDefault, urls }) => ({
    name,
    default: isDefault,
    officialNamespace: officialNamespaceOf(urls),
  }));
}

/** Where the registry keeps what is named by one word. */
export function officialNamespaceOf(urls: readonly string[]): string | undefined {
  return urls.some((url) => new URL(url).host === DOCKER_HUB.host) ? 'library' : undefined;
}

function builtInAuthHosts(urls: readonly string[]): string[] {
  return urls.some((url) => new URL(url).hostname === DOCKER_HUB.host) ? [DOCKER_HUB.authHost] : [];
}

function checkTogether(entries: readonly unknown[], context: z.core.$RefinementCtx): void {
  const refuse = (message: string, path: (string | number)[] = []): void =>
    context.addIssue({ code: 'custom', message, path });
  const listed: readonly Partial<UpstreamEntry>[] = entries.map((entry) =>
    typeof entry === 'object' && entry !== null ? entry : {},
  );
  if (listed.length === 0)
    refuse('is empty; takes at least one upstream, or leave the key out for Docker Hub');
  const nameOwners = new Map<unknown, number>();
  const hostOwners = new Map<unknown, number>();
  for (const [index, { name, hosts }] of listed.entries()) {
    const first = nameOwners.get(name);
    if (typeof name === 'string' && first !== undefined)
      refuse(`"${name}" is already the name of upstreams[${first}]`, [index, 'name']);
    else nameOwners.set(name, index);
    for (const [position, host] of (Array.isArray(hosts) ? hosts : []).entries()) {
      const owner = hostOwners.get(host);
      if (typeof host === 'string' && owner !== undefined && owner !== index)
        refuse(`"${host}" already chooses upstreams[${owner}]`, [index, 'hosts', position]);
      else hostOwners.set(host, index);
    }
  }
  // Which one was meant cannot be told while one of them holds no true or false.
  if (listed.some((entry) => typeof entry.default !== 'boolean')) return;
  const defaults = listed.flatMap((entry, index) => (entry.default === true ? [`upstreams[${index}]`] : []));
  if (listed.length > 1 && defaults.length !== 1)
    refuse(
      defaults.length === 0
        ? 'has no default; set default: true on exactly one of them'
        : `has ${defaults.length} defaults (${defaults.join(', ')}); takes default: true on exactly one of them`,
    );
}
