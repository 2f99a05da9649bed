import type { WantedScope } from '../caller.ts';

/** Who tokens are from and for, and what `service` is called. */
export const SERVICE = 'pierhead';
export const TOKEN_PATH = '/auth/token';
export const BASIC_CHALLENGE = `Basic realm="${SERVICE}", charset="UTF-8"`;

/** What no client may put between the quotes of a challenge. */
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/;
const MAX_HOST_LENGTH = 260;

/** `scheme://host` as the client calls this edge; undefined when its `Host` is no host. */
export function originOf(secure: boolean, host: string | undefined): string | undefined {
  if (host === undefined || host.length > MAX_HOST_LENGTH || !HOST.test(host)) return undefined;
  return `${secure ? 'https' : 'http'}://${host}`;
}

/** As docker's token protocol has it. A push asks for both, since its client reads first what is there. */
export function bearerChallenge(
  realm: string,
  wanted: WantedScope | undefined,
  error?: 'insufficient_scope' | 'invalid_token',
): string {
  const actions = wanted?.action === 'push' ? 'pull,push' : wanted?.action;
  return [
    `Bearer realm="${realm}",service="${SERVICE}"`,
    ...(wanted === undefined ? [] : [`scope="repository:${wanted.name}:${actions}"`]),
    ...(error === undefined ? [] : [`error="${error}"`]),
  ].join(',');
}
