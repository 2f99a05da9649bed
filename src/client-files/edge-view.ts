import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { splitHostPort } from '../config/addresses.ts';
import type { Config, UpstreamConfig } from '../config/config.ts';
import { DOCKER_HUB } from '../config/defaults.ts';
import { authorityFiles } from '../tls/certificate-authority.ts';
import { CertificateError } from '../tls/certificate-error.ts';
import { readCertificate } from '../tls/certificate-files.ts';
import { isIssuedBy } from '../tls/leaf-certificate.ts';
import type { ClientEdge, EdgeRegistry } from './client-edge.ts';
import { guessAddress, hostPort, isLoopback } from './edge-address.ts';

export interface ViewOptions {
  /** The plain listener. */
  readonly plain: boolean;
  /** What clients call the edge; without a port, the listener's. */
  readonly host?: { readonly host: string; readonly port: number | undefined };
  /** In PEM: instead of the local CA's certificate. */
  readonly ca?: string;
  /** The machine's own name. */
  readonly hostname: string;
}

export interface EdgeView {
  readonly edge: ClientEdge;
  readonly warnings: readonly string[];
}

/** The edge cannot be described; the message is for the operator. */
export class ViewError extends Error {
  override readonly name = 'ViewError';
}

/**
 * The edge of a configuration as clients see it.
 * @throws {ViewError} when the listener is off or has no fixed port.
 * @throws {CertificateError} when there is no certificate yet, or it cannot be read.
 */
export async function viewEdge(config: Config, options: ViewOptions): Promise<EdgeView> {
  const scheme = options.plain ? 'http' : 'https';
  const key = `listen.${scheme}`;
  const listener = config.listen[scheme];
  if (listener === null) {
    throw new ViewError(
      options.plain
        ? `${key} is off: give it an address, or leave --plain out`
        : `${key} is off: give it an address, or use --plain for the listener without TLS`,
    );
  }
  const trust = options.plain ? undefined : await trustOf(config.tls.cert, options.ca);
  const covered = (name: string): boolean => trust?.server === undefined || isFor(trust.server, name);
  const { host, port, warning } =
    options.host === undefined
      ? guessAddress({ key, listener, names: config.tls.names, hostname: options.hostname, covered })
      : {
          host: options.host.host,
          port: options.host.port ?? listener.port,
          warning: isLoopback(options.host.host)
            ? `${options.host.host} is each client's own machine: these files work on this one only.`
            : undefined,
        };
  if (port === 0)
    throw new ViewError(`${key} has port 0, which is another one at each start: give --host NAME:PORT`);

  const named = [host, ...config.upstreams.flatMap(({ hosts }) => hosts.map(withoutPort))];
  const uncovered = [...new Set(named)].filter((name) => !covered(name));
  return {
    edge: {
      scheme,
      address: hostPort(host, port),
      port,
      loopback: isLoopback(host),
      ...(trust?.ca === undefined ? {} : { ca: trust.ca }),
      registries: registriesOf(config.upstreams),
    },
    warnings: [
      ...(warning === undefined ? [] : [warning]),
      ...uncovered.map(
        (name) =>
          `${config.tls.cert} is not valid for ${name}, so that clients that call the edge so will not use it: add the name to tls.names and run "pierhead certs init", or have your certificate made for it.`,
      ),
      ...(trust !== undefined && trust.ca === undefined
        ? [
            `${config.tls.cert} is not from the local CA: clients have to trust its issuer already, or give that one's certificate with --ca FILE.`,
          ]
        : []),
    ],
  };
}

interface Trust {
  /** Not there on a machine that only knows the CA. */
  readonly server?: X509Certificate;
  readonly ca?: string;
}

/** Only certificates are read, and printed as they were parsed: a key in the same file goes nowhere. */
async function trustOf(certFile: string, ca: string | undefined): Promise<Trust> {
  const server = await readCertificate(certFile);
  if (server === undefined) {
    if (ca !== undefined) return { ca };
    throw new CertificateError(
      `${certFile} is not there yet: run "pierhead certs init" or start the edge once, then ask again; on another machine, name the CA's certificate with --ca FILE.`,
    );
  }
  if (ca !== undefined) return { server, ca };
  const authority = await readCertificate(authorityFiles(certFile).cert);
  const ours = authority !== undefined && isIssuedBy(server, authority);
  return { server, ...(ours ? { ca: authority.toString() } : {}) };
}

function isFor(certificate: X509Certificate, name: string): boolean {
  return (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined;
}

function withoutPort(host: string): string {
  return splitHostPort(host)?.host ?? host;
}

/** When two upstreams are the same registry to clients, the one of that name has it, or else the first. */
export function registriesOf(upstreams: readonly UpstreamConfig[]): EdgeRegistry[] {
  const taken = new Set(upstreams.map(({ name }) => name).filter(isRegistryName));
  return upstreams.map((upstream) => {
    const registry = registryOf(upstream);
    const free = registry !== undefined && (registry === upstream.name || !taken.has(registry));
    if (free) taken.add(registry);
    return {
      upstream: upstream.name,
      ...(free ? { registry } : {}),
      origin: originOf(upstream, registry),
      default: upstream.default,
      hosts: upstream.hosts,
    };
  });
}

/** What clients put in front of a repository's name: the upstream's name if it can stand there, else its URL's host. */
function registryOf({ name, urls }: UpstreamConfig): string | undefined {
  if (isRegistryName(name)) return calledByClients(name);
  const url = new URL(urls[0] ?? '');
  return url.pathname === '/' && isRegistryName(url.host) ? calledByClients(url.host) : undefined;
}

/** distribution/reference, splitDockerDomain: anything else in front of a slash is a part of the repository's name. */
function isRegistryName(name: string): boolean {
  return /[.:]/.test(name) || name === 'localhost';
}

function calledByClients(host: string): string {
  return host === DOCKER_HUB.host || host === 'index.docker.io' ? DOCKER_HUB.name : host;
}

function originOf({ urls }: UpstreamConfig, registry: string | undefined): string {
  const { host, origin } = new URL(urls[0] ?? '');
  if (registry === DOCKER_HUB.name) return DOCKER_HUB.url;
  return registry === undefined || registry === host ? origin : `https://${registry}`;
}
