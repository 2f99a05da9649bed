import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

/** Made once: reading all authorities for each connection takes longer than the connection. */
export function trusting(ca: string): SecureContext {
  return createSecureContext({ ca: [...getCACertificates('default'), ca], minVersion: 'TLSv1.2' });
}
