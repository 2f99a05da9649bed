import { PART_NAMES, versionOf } from '../../test/support/parts.ts';

/** Who was compared: half of a figure's meaning. */
export async function contenderVersions(): Promise<Record<string, string>> {
  const names = PART_NAMES.filter((name) => name === 'nginx' || name === 'docker-registry' || name === 'wrk');
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await versionOf(name)] as const)),
  );
}
