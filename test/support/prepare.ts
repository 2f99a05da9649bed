import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { atExit } from './at-exit.ts';
import { findPart, packagesOf, PART_NAMES, versionOf, type PartName } from './parts.ts';

const UPDATE = ['update', '-qq'];
const INSTALL = ['install', '-y', '-qq', '--no-install-recommends'];
/** Asked by Debian's packages whether their service may start; 101 is "no". */
const POLICY_FILE = '/usr/sbin/policy-rc.d';

if (import.meta.main) process.exitCode = await prepare();

/** Sees to it that the real parts are on this machine. Returns the exit code. */
export async function prepare(names: readonly PartName[] = PART_NAMES): Promise<number> {
  const absent = names.filter((name) => findPart(name) === undefined);
  if (absent.length > 0) {
    const packages = packagesOf(absent);
    console.log(`parts: ${absent.join(', ')} missing`);
    const refusal = whyNotHere();
    if (refusal !== undefined) {
      console.log(`parts: ${refusal}; as root on Debian, run:`);
      console.log(`  apt-get ${UPDATE.join(' ')} && apt-get ${INSTALL.join(' ')} ${packages.join(' ')}`);
      return 1;
    }
    await install(packages);
    const still = absent.filter((name) => findPart(name) === undefined);
    if (still.length > 0) {
      console.log(`parts: ${still.join(', ')} still missing after installing ${packages.join(' ')}`);
      return 1;
    }
  }
  const versions = await Promise.all(names.map(async (name) => `${name} ${await versionOf(name)}`));
  console.log(`parts: ${versions.join(', ')}`);
  return 0;
}

function whyNotHere(): string | undefined {
  if (findPart('apt-get') === undefined) return 'this system has no apt-get';
  if (process.getuid?.() !== 0) return 'installing needs root';
  return undefined;
}

async function install(packages: readonly string[]): Promise<void> {
  const undo = denyServices();
  try {
    console.log('parts: reading the package lists');
    await aptGet(UPDATE);
    console.log(`parts: installing ${packages.join(' ')}`);
    await aptGet([...INSTALL, ...packages]);
  } finally {
    undo();
  }
}

/** Services that a package brings must not start here: the tests start their own. Returns the undoing. */
export function denyServices(policyFile = POLICY_FILE): () => void {
  if (existsSync(policyFile)) return () => undefined;
  writeFileSync(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
  const remove = (): void => rmSync(policyFile, { force: true });
  const release = atExit(remove);
  return () => {
    remove();
    release();
  };
}

async function aptGet(args: readonly string[]): Promise<void> {
  const child = spawn(findPart('apt-get') ?? '', args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  const [code] = (await once(child, 'close')) as [number | null];
  // A broken list of one source is no reason not to try the others: the check afterwards decides.
  if (code !== 0) console.log(`parts: apt-get ${args[0]} ended with code ${code}`);
}
