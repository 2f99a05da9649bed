/** How the edge does, for whoever looks after it. */
export interface StateView {
  readonly health: () => HealthView;
  readonly certificates: () => readonly CertificateView[];
}

export interface HealthView {
  /** As `/readyz` says it. */
  readonly ready: boolean;
  readonly workers: number;
  readonly upstreams: readonly { readonly name: string; readonly available: boolean }[];
}

export interface CertificateView {
  /** As the metrics call it. */
  readonly name: string;
  readonly names: readonly string[];
  /** RFC 3339. */
  readonly expiresAt: string;
  /** SHA-256, as `openssl x509 -fingerprint` prints it. */
  readonly fingerprint256: string;
}
