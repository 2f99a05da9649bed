import { LdapFailure } from '../access/directory/ldap-connection.ts';
import { LdapServer } from '../access/directory/ldap-server.ts';
import { IssuerDocuments, IssuerFailure } from '../access/directory/oidc-documents.ts';
import type { EdgeAuthConfig, LdapConfig, OidcConfig } from '../config/access/access-config.ts';
import { systemClock } from '../lib/clock.ts';
import type { Report } from './certificates/check-certificates.ts';

/** The edge starts without them, but lets nobody new in by them: where none of a source answers, that is a failure. */
export async function checkSources({ ldap, oidc }: EdgeAuthConfig, report: Report): Promise<void> {
  if (ldap !== undefined) await checkLdap(ldap, report);
  if (oidc !== undefined) await checkOidc(oidc, report);
}

async function checkLdap(ldap: LdapConfig, report: Report): Promise<void> {
  const failures = await Promise.all(ldap.urls.map(async (url) => [url, await whyNot(url, ldap)] as const));
  const none = failures.every(([, failure]) => failure !== undefined);
  const who = ldap.bindDn ?? 'nobody in particular (auth.edge.ldap.bindDn is not set)';
  for (const [url, failure] of failures) {
    if (failure === undefined) report('ok', 'auth.edge.ldap', `${url} answers ${who}`);
    else if (none) report('fail', 'auth.edge.ldap', `${url}: ${failure}: nobody new would get in by it`);
    else report('warn', 'auth.edge.ldap', `${url}: ${failure}: the others are asked in its place`);
  }
}

/** What is wrong with that server: its certificate, the service account, the folders that are searched. */
async function whyNot(url: string, config: LdapConfig): Promise<string | undefined> {
  const server = new LdapServer(url, { config, clock: systemClock, changed: () => undefined });
  try {
    await found(server, 'userBase', config.userBase);
    if (config.groupBase !== undefined) await found(server, 'groupBase', config.groupBase);
    return undefined;
  } catch (error) {
    if (!(error instanceof LdapFailure)) throw error;
    return error.message;
  } finally {
    server.close();
  }
}

async function found(server: LdapServer, key: string, base: string): Promise<void> {
  const mend = `mend auth.edge.ldap.${key}, or let the service account read it`;
  try {
    const entries = await server.search(base, { scope: 'base', attributes: ['1.1'] });
    if (entries.length === 0) throw new LdapFailure('refused', 'it shows no such entry');
  } catch (error) {
    if (!(error instanceof LdapFailure) || error.kind !== 'refused') throw error;
    throw new LdapFailure('refused', `${base}: ${error.message}: ${mend}`, { cause: error });
  }
}

async function checkOidc({ issuer, ca }: OidcConfig, report: Report): Promise<void> {
  const documents = new IssuerDocuments(issuer, ca === undefined ? {} : { ca });
  try {
    const { keys } = await documents.keys();
    report('ok', 'auth.edge.oidc', `${issuer} publishes ${keys.length} key${keys.length === 1 ? '' : 's'}`);
  } catch (error) {
    if (!(error instanceof IssuerFailure)) throw error;
    report('fail', 'auth.edge.oidc', `${error.message}: nobody new would get in by it`);
  } finally {
    documents.close();
  }
}
