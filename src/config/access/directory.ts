import { isIP } from 'node:net';
import { ms } from '../../lib/brand.ts';
import { parseHost } from '../addresses.ts';
import { DEFAULT_AUTH } from '../defaults.ts';
import { field, listOf, section, textField } from '../fields.ts';
import { readCertificates, readSecret, type Surroundings } from '../secrets.ts';
import { DURATION_FORM, parseDuration } from '../units.ts';
import { isLdapFilter } from './ldap-filter-form.ts';

const LDAP_URL_FORM =
  'ldaps://HOST[:PORT], or ldap://HOST[:PORT] for StartTLS, without a path and without user info (that is what bindDn and bindPassword are for)';
const DN_FORM = 'a distinguished name, such as ou=people,dc=corp';
const BIND_DN_FORM = 'the name of the service account, such as cn=edge,ou=services,dc=corp';
const USER_FILTER_FORM = 'an LDAP filter that compares an attribute with {user}, such as (uid={user})';
const GROUP_FILTER_FORM = 'an LDAP filter with {dn} or {user} in it, such as (member={dn})';
const ISSUER_FORM =
  'the https URL that the issuer calls itself, without query and user info (http:// on this host only)';
const MAX_URLS = 8;
const [LEAST_TIMEOUT, LONGEST_TIMEOUT] = [ms(100), ms(30_000)];

export function ldapSchema(surroundings: Surroundings) {
  const url = textField(parseLdapUrl, LDAP_URL_FORM);
  return section({
    url: field((input) => {
      const list = listOf(url, 'URLs in order of preference')
        .min(1, { error: `is empty; takes ${LDAP_URL_FORM}` })
        .max(MAX_URLS, { error: `is too long; takes at most ${MAX_URLS} URLs` });
      const parsed = list.safeParse(Array.isArray(input) ? input : [input]);
      return parsed.success ? { value: parsed.data } : { problem: parsed.error.issues[0]?.message ?? '' };
    }),
    ca: field((input) => readCertificates(input, surroundings)).optional(),
    bindDn: textField((text) => withoutControls(text, 1024), BIND_DN_FORM).optional(),
    bindPassword: field((input) => readSecret(input, surroundings)).optional(),
    userBase: textField(parseDn, DN_FORM),
    userFilter: textField(parseUserFilter, USER_FILTER_FORM).default(DEFAULT_AUTH.ldapUserFilter),
    groupBase: textField(parseDn, DN_FORM).optional(),
    groupFilter: textField(parseGroupFilter, GROUP_FILTER_FORM).default(DEFAULT_AUTH.ldapGroupFilter),
    timeout: textField(parseTimeout, `${DURATION_FORM}, from 100ms to 30s`).default(DEFAULT_AUTH.ldapTimeout),
  }).superRefine(({ bindDn, bindPassword }, context) => {
    const refuse = (key: string, message: string): void =>
      context.addIssue({ code: 'custom', message, path: [key] });
    if (bindDn !== undefined && bindPassword === undefined)
      refuse('bindPassword', 'is missing; takes the password of bindDn, for example { file: PATH }');
    if (bindDn === undefined && bindPassword !== undefined)
      refuse('bindDn', `is missing; takes ${BIND_DN_FORM}`);
  });
}

export function oidcSchema(surroundings: Surroundings) {
  const text = (takes: string) => textField((value) => withoutControls(value, 255), takes);
  return section({
    issuer: textField(parseIssuer, ISSUER_FORM),
    audience: text('the audience that tokens for this edge name'),
    userClaim: text('the name of a claim').default(DEFAULT_AUTH.userClaim),
    groupsClaim: text('the name of a claim').default(DEFAULT_AUTH.groupsClaim),
    ca: field((input) => readCertificates(input, surroundings)).optional(),
  });
}

function parseLdapUrl(text: string): string | undefined {
  const match = /^(ldaps?):\/\/([^/?#@\s]+)\/?$/i.exec(text);
  const host = match?.[2] === undefined ? undefined : parseHost(match[2]);
  return match?.[1] === undefined || host === undefined ? undefined : `${match[1].toLowerCase()}://${host}`;
}

/** As it stands: it is compared with what tokens say, octet by octet. */
function parseIssuer(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || url.username + url.password !== '' || /[?#\s\p{Cc}]/u.test(text)) return undefined;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
    ? text
    : undefined;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || (isIP(host) === 4 && host.startsWith('127.'));
}

function parseDn(text: string): string | undefined {
  return /^[A-Za-z0-9.-]+ *=/.test(text) ? withoutControls(text, 1024) : undefined;
}

function parseUserFilter(text: string): string | undefined {
  const names = /\([A-Za-z][A-Za-z0-9-]*=[^()]*\{user\}/.test(text);
  return isLdapFilter(text) && names && !text.includes('{dn}') ? text : undefined;
}

function parseGroupFilter(text: string): string | undefined {
  return isLdapFilter(text) && /\{(user|dn)\}/.test(text) ? text : undefined;
}

function parseTimeout(text: string) {
  const timeout = parseDuration(text);
  return timeout !== undefined && timeout >= LEAST_TIMEOUT && timeout <= LONGEST_TIMEOUT
    ? timeout
    : undefined;
}

function withoutControls(text: string, longest: number): string | undefined {
  return text !== '' && text.length <= longest && !/\p{Cc}/u.test(text) ? text : undefined;
}
