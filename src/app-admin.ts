import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import { Roles } from './access/roles.ts';
import { createIdentification, type IdentificationSurroundings } from './app-identification.ts';
import { ADMIN_OPTIONS, serveAdmin, type AdminParts } from './admin/admin-listener.ts';
import { OperatorGate, type Operators } from './admin/operators.ts';
import type { CertificateView } from './admin/state-view.ts';
import { guardAdmin, type AcceptParts, type AdminGuard } from './app-connections.ts';
import { contextsOf, type TlsSettings } from './app-worker.ts';
import { isLoopback } from './config/addresses.ts';
import type { Config, ListenAddress } from './config/config.ts';
import { expiriesOf, type ServedCertificates } from './tls/serving/served-certificates.ts';

/** Who may change things over the network, by the settings that the workers have as well. */
export function createOperators(
  { auth, roles }: Pick<Config, 'auth' | 'roles'>,
  surroundings: IdentificationSurroundings,
): Operators {
  const { identification, start, close } = createIdentification(auth, surroundings);
  const known = new Roles(roles, auth.mode);
  return {
    identifies: auth.mode === 'edge',
    identification,
    isOperator: (caller) => known.isOperator(caller),
    start,
    close,
  };
}

export interface AdminListenerParts extends Omit<AdminParts, 'namesHere' | 'gate' | 'clientOf'> {
  readonly operatorsOf: (config: Config) => Operators;
  readonly accept: Omit<AcceptParts, 'limits'>;
}

/**
 * The listener of `listen.admin`. On loopback it speaks plain HTTP; elsewhere TLS, with the certificates of the TLS listener,
 * and plain HTTP only where there is none and the configuration says that passwords may go over it.
 */
export class AdminListener {
  readonly #address: ListenAddress;
  readonly #parts: AdminListenerParts;
  readonly #server: Server | SecureServer;
  readonly #renew: ((tls: TlsSettings) => void) | undefined;
  readonly #guard: AdminGuard;
  #operators: Operators;
  #config: Config;
  #load = 0;

  /** @throws for settings that cannot be used. */
  constructor(address: ListenAddress, config: Config, tls: TlsSettings | null, parts: AdminListenerParts) {
    this.#address = address;
    this.#parts = parts;
    this.#config = config;
    this.#operators = parts.operatorsOf(config);
    this.#operators.start();
    if (isLoopback(address.host) || tls === null) this.#server = createServer(ADMIN_OPTIONS);
    else {
      const { server, renew } = secureServer(tls);
      this.#server = server;
      this.#renew = renew;
    }
    const gate = new OperatorGate(() => this.#operators, parts.clock);
    serveAdmin(this.#server, {
      ...parts,
      gate,
      namesHere: (client) => this.#namesHere(client),
      clientOf: (request) => this.#guard.clientOf(request),
    });
    this.#guard = guardAdmin(this.#server, config, parts.accept);
    this.#server.on('request', (request, response) => {
      const load = this.#load;
      response.once('close', () => {
        if (load !== this.#load) request.socket.destroySoon();
      });
    });
  }

  /** @throws the socket's error. */
  async listen(): Promise<ListenAddress> {
    const { host, port } = this.#address;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, resolve);
    });
    const bound = this.#server.address();
    return typeof bound === 'object' && bound !== null ? { host, port: bound.port } : this.#address;
  }

  /**
   * The address stays; who may ask, and the certificate, are others from here on. Whoever came with a certificate that is
   * revoked by now shakes hands anew: a connection lasts to the end of its answer.
   * @throws and changes nothing.
   */
  reload(config: Config, tls: TlsSettings | null): void {
    const operators = this.#parts.operatorsOf(config);
    if (tls !== null) this.#renew?.(tls);
    this.#operators.close();
    this.#operators = operators;
    operators.start();
    this.#config = config;
    this.#load += 1;
    this.#guard.change(config);
    this.#server.closeIdleConnections();
  }

  async close(): Promise<void> {
    this.#operators.close();
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  /** Whoever a trusted proxy on this host names is elsewhere. */
  #namesHere(client: string): readonly string[] | undefined {
    return isLoopback(this.#address.host) && isLoopback(client) ? this.#config.tls.names : undefined;
  }
}

/** With every option of the TLS listener, all of them set anew with each load. */
function secureServer(tls: TlsSettings): { server: SecureServer; renew: (tls: TlsSettings) => void } {
  let contexts = contextsOf(tls);
  const server = createSecureServer({
    ...ADMIN_OPTIONS,
    ...contexts.options,
    SNICallback: (servername, done) => done(null, contexts.contextFor(servername)),
  });
  const renew = (renewed: TlsSettings): void => {
    contexts = contextsOf(renewed);
    contexts.applyTo(server);
  };
  return { server, renew };
}

/** What is served, for whoever looks after it; undefined without TLS. */
export function certificateViews(served: ServedCertificates | undefined): CertificateView[] {
  if (served === undefined) return [];
  const certificates = [served.main, ...served.further].map(({ certificate }) => certificate);
  if (served.authority !== undefined) certificates.splice(1, 0, served.authority.certificate);
  return expiriesOf(served).map(({ name, at }, position) => {
    const certificate = certificates[position];
    return {
      name,
      names: certificate?.subjectAltName?.split(', ') ?? [],
      expiresAt: new Date(at).toISOString(),
      fingerprint256: certificate?.fingerprint256 ?? '',
    };
  });
}
