/** Who asks. With `auth.mode: none` the network is the identity. */
export interface Caller {
  readonly kind: 'network';
  /** Canonical address of the TCP peer. */
  readonly address: string;
}

export function identify(address: string): Caller {
  return { kind: 'network', address };
}
