/** The edge did not do what the demo says that it does. */
export class NotAsPromised extends Error {
  override readonly name = 'NotAsPromised';
}

/** @throws {NotAsPromised} with that message, unless the condition holds. */
export function promised(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new NotAsPromised(otherwise);
}
