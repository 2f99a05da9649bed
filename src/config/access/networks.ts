import type { z } from 'zod';
import type { Problem } from '../problem.ts';
import { NETWORK_FORM, parseNetwork } from '../addresses.ts';
import { booleanField, listOf, section, textField } from '../fields.ts';
import { DEFAULT_ACCESS } from '../defaults.ts';
import type { AccessConfig } from './access-config.ts';

const MAX_FORBIDDEN = 100;

export function networkList() {
  return listOf(textField(parseNetwork, NETWORK_FORM), NETWORK_FORM);
}

export function accessSchema() {
  const own = section({
    allow: networkList().default([...DEFAULT_ACCESS.allow]),
    deny: networkList().default([...DEFAULT_ACCESS.deny]),
  }).optional();
  return section({
    allow: networkList().default([...DEFAULT_ACCESS.allow]),
    deny: networkList().default([...DEFAULT_ACCESS.deny]),
    listeners: section({ https: own, http: own, admin: own }).prefault({}),
    trustedProxies: networkList().default([]),
    proxyProtocol: booleanField().default(false),
    forbiddenNames: listOf(
      textField(parseForbiddenName, FORBIDDEN_FORM),
      'words that no repository name may contain',
    )
      .max(MAX_FORBIDDEN, { error: `is too long; takes at most ${MAX_FORBIDDEN} words` })
      .default([]),
  });
}

/** Without the keys of listeners that have no lists of their own. */
export function completeAccess({
  listeners,
  ...access
}: z.output<ReturnType<typeof accessSchema>>): AccessConfig {
  const { https, http, admin } = listeners;
  return {
    ...access,
    listeners: { ...(https && { https }), ...(http && { http }), ...(admin && { admin }) },
  };
}

/** What can only be checked against other keys. */
export function accessProblems({ trustedProxies, proxyProtocol }: AccessConfig): Problem[] {
  const problems = trustedProxies.flatMap((network, at): Problem[] =>
    network.endsWith('/0')
      ? [
          {
            key: `access.trustedProxies[${at}]`,
            message: `got "${network}", by which every client could choose its own address; takes the networks of your proxies`,
          },
        ]
      : [],
  );
  if (proxyProtocol && trustedProxies.length === 0)
    problems.push({
      key: 'access.proxyProtocol',
      message: 'is read from access.trustedProxies only, and there are none; takes them, or false',
    });
  return problems;
}

const FORBIDDEN_FORM = 'lower-case letters, digits, . _ - and /, at most 255';

function parseForbiddenName(text: string): string | undefined {
  return /^[a-z0-9._/-]{1,255}$/.test(text) ? text : undefined;
}
