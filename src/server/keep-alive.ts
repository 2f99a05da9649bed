/** BuildKit keeps idle connections for 120 s and must not find them closed under a request. */
export const KEEP_ALIVE_MS = 125_000;
/** Then the client comes on a new connection, which may reach another worker. */
export const MAX_REQUESTS_PER_SOCKET = 1000;
