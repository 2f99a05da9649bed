import type { X509Certificate } from 'node:crypto';
import type { Server, TLSSocket } from 'node:tls';
import { shownCertificate } from '../access/edge/shown-certificate.ts';

/**
 * Ends connections whose client certificate is not let in any more. A handshake may have begun under the old CA and revocation lists and
 * ended under the new, so each connection is looked at once when it is there, and all of them when told.
 *
 * @param admits by the settings that are in force
 * @returns what to call when the settings have changed
 */
export function guardCertificates(
  server: Server,
  admits: (certificate: X509Certificate) => boolean,
): () => void {
  const open = new Set<TLSSocket>();
  const check = (socket: TLSSocket): void => {
    const certificate = shownCertificate(socket);
    if (certificate !== undefined && !admits(certificate)) socket.destroy();
  };
  server.on('secureConnection', (socket: TLSSocket) => {
    if (!socket.authorized) return;
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    check(socket);
  });
  return () => {
    for (const socket of open) check(socket);
  };
}
