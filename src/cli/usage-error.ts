/** The command was not given as it takes it; exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
