/** A store that cannot answer costs a miss, never a pull: its failure is told, and counts as nothing found. */
export async function attempt<T>(
  work: () => Promise<T>,
  failed: (error: unknown) => void,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    failed(error);
    return undefined;
  }
}
