import { constants } from 'node:crypto';
import type { TlsOptions } from 'node:tls';
import { revocationListsOf } from './clients/revocation-lists.ts';

/** AEAD with ephemeral keys only. AES-128 first: every machine of the last ten years has it in hardware. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

export interface ServerTlsSettings {
  /** PEM: the server's certificate first, then its chain. */
  readonly cert: string;
  /** PEM, without a passphrase. */
  readonly key: string;
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** 48 random octets that session tickets are sealed with: the same in all workers, others after each reload. */
  readonly ticketKeys?: Buffer;
  /** Ask clients for certificates; `required` ends the handshake of a client that has none that is good. */
  readonly clients?: { readonly ca: string; readonly crl?: string; readonly required: boolean };
}

/** For `https.createServer`, and for `setSecureContext` on its server. */
export type ServerTlsOptions = TlsOptions;

/**
 * Every TLS option of a listener, always all of them: `setSecureContext` on a running server forgets each option
 * that it is not given again (with only `key` and `cert`, a server for TLS 1.3 only takes TLS 1.2 from then on).
 */
export function serverTlsOptions(settings: ServerTlsSettings): ServerTlsOptions {
  const { clients } = settings;
  const options: ServerTlsOptions = {
    key: settings.key,
    cert: settings.cert,
    minVersion: settings.minVersion ?? 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    ciphers: CIPHERS,
    ecdhCurve: 'X25519:P-256:P-384',
    honorCipherOrder: true,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: 10_000,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ...(settings.ticketKeys === undefined ? {} : { ticketKeys: settings.ticketKeys }),
  };
  if (clients === undefined) return options;
  return {
    ...options,
    ca: clients.ca,
    // Each of them: OpenSSL reads the first of a text only.
    ...(clients.crl === undefined ? {} : { crl: [...revocationListsOf(clients.crl)] }),
    requestCert: true,
    rejectUnauthorized: clients.required,
    // A resumed session is not checked against the CRL again (CVE-2025-23419 was this), so there are none.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
  };
}
