import { createSecureContext, type SecureContext, type Server } from 'node:tls';
import type { PemPair } from '../certificate-authority.ts';
import { serverTlsOptions, type ServerTlsOptions, type ServerTlsSettings } from '../server-tls-options.ts';

/**
 * A pair and the DNS names that it holds, in lower case. Whoever serves is told them, since reading them takes the library
 * that makes certificates.
 */
export interface NamedPair extends PemPair {
  readonly names: readonly string[];
}

/**
 * What a TLS listener serves with, made once per load and never in a handshake. The pair of the settings is for clients
 * that name no host, or one that is on no certificate; each further pair is for the names in its subjectAltName. An exact name
 * goes before a wildcard, and where two pairs hold the same name the first one has it.
 */
export class ServerContexts {
  /** Every option of the listener, with the pair of the settings. */
  readonly options: ServerTlsOptions;
  /** `undefined` stands for the pair of the settings, which the listener has by itself. */
  readonly #exact = new Map<string, SecureContext | undefined>();
  /** By what follows the asterisk of `*.example.com`, the dot included. */
  readonly #wildcard = new Map<string, SecureContext | undefined>();

  /** @throws what OpenSSL says of a pair that it does not take. */
  constructor(settings: ServerTlsSettings & NamedPair, further: readonly NamedPair[]) {
    this.options = serverTlsOptions(settings);
    createSecureContext(this.options);
    this.#add(settings.names, undefined);
    for (const { cert, key, names } of further) {
      this.#add(names, createSecureContext(serverTlsOptions({ ...settings, cert, key })));
    }
  }

  /** For the handshakes from here on. All options, since what is not given again is forgotten. */
  applyTo(server: Server): void {
    server.setSecureContext(this.options);
    // Those of the server and not of its context: Node reads them in each handshake.
    const { requestCert = false, rejectUnauthorized = true } = this.options;
    Object.assign(server, { requestCert, rejectUnauthorized });
  }

  /**
   * The context for a name as a client sent it (SNI, RFC 6066, 3: in any case, and whatever bytes it likes). Never throws:
   * what an SNICallback throws ends the process (CVE-2026-21637). `undefined`: the listener's own.
   */
  contextFor(servername: unknown): SecureContext | undefined {
    if (typeof servername !== 'string') return undefined;
    const name = servername.toLowerCase();
    if (this.#exact.has(name)) return this.#exact.get(name);
    const dot = name.indexOf('.');
    // A wildcard stands for one whole label (RFC 6125, 6.4.3).
    return dot > 0 ? this.#wildcard.get(name.slice(dot)) : undefined;
  }

  #add(names: readonly string[], context: SecureContext | undefined): void {
    for (const name of names) {
      const [known, key] = name.startsWith('*.')
        ? [this.#wildcard, name.slice(1)]
        : ([this.#exact, name] as const);
      if (!known.has(key)) known.set(key, context);
    }
  }
}
