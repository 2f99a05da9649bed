import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findPart } from './parts.ts';
import { runProcess } from './processes.ts';
import type { Docker } from './docker.ts';
import type { TempFolder } from './temp.ts';

/** Names of images that stand in for the two that the Dockerfile is built on. */
export const STAND_INS = { build: 'stand-in/build:1', base: 'stand-in/base:1' } as const;

/**
 * The Dockerfile's base images come from registries that a test cannot count on. Both are made here from this machine's
 * own files: one with a shell, Node and npm, the other with nothing but the C and C++ libraries.
 */
export async function importStandIns(docker: Docker, folder: TempFolder): Promise<void> {
  await importImage(docker, await buildRoot(folder.join('build-root')), STAND_INS.build, [
    'ENV PATH=/usr/local/bin:/usr/bin:/bin',
  ]);
  await importImage(docker, await baseRoot(folder.join('base-root')), STAND_INS.base, []);
}

async function buildRoot(root: string): Promise<string> {
  const programs = ['dash', 'env', 'mkdir', 'rm', 'cp'].map((name) => findPart(name) ?? name);
  await copyPrograms(root, programs);
  await copyLibraries(root, process.execPath);
  await mkdir(join(root, 'usr/local/bin'), { recursive: true });
  await cp(process.execPath, join(root, 'usr/local/bin/node'));
  await symlink(findPart('dash') ?? 'dash', join(root, 'bin/sh'));
  const npm = dirname(dirname(realpathSync(npmProgram())));
  await cp(npm, join(root, 'usr/local/lib/node_modules/npm'), { recursive: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'));
  await user(root, 'root:x:0:0::/root:/bin/sh');
  await npmSettings(root);
  return root;
}

async function baseRoot(root: string): Promise<string> {
  await copyLibraries(root, process.execPath);
  await user(root, 'nonroot:x:65532:65532::/home/nonroot:/none');
  return root;
}

/** What `npm ci` fetched for this checkout is in npm's cache: the build needs the network only for what is not. */
async function npmSettings(root: string): Promise<void> {
  const settings = ['prefer-offline=true', 'cache=/npm-cache'];
  await cp(join(await npmConfig('cache'), '_cacache'), join(root, 'npm-cache/_cacache'), { recursive: true });
  settings.push(`registry=${await npmConfig('registry')}`);
  const authorities = await npmConfig('cafile');
  if (authorities.startsWith('/')) {
    await cp(authorities, join(root, 'root/authorities.crt'));
    settings.push('cafile=/root/authorities.crt');
  }
  await writeFile(join(root, 'root/.npmrc'), `${settings.join('\n')}\n`);
}

async function npmConfig(key: string): Promise<string> {
  const { stdout } = await runProcess(npmProgram(), ['config', 'get', key], { timeoutMs: 20_000 });
  return stdout.trim();
}

function npmProgram(): string {
  const program = process.env['npm_execpath'] ?? findPart('npm');
  if (program === undefined) throw new Error('npm is not on this machine');
  return program;
}

async function user(root: string, line: string): Promise<void> {
  for (const name of ['etc', 'tmp', 'root']) await mkdir(join(root, name), { recursive: true });
  await writeFile(join(root, 'etc/passwd'), `${line}\n`);
}

async function copyPrograms(root: string, programs: readonly string[]): Promise<void> {
  for (const program of programs) {
    const plain = join(root, 'bin', program.slice(program.lastIndexOf('/') + 1));
    await cp(program, plain, { dereference: true });
    // Scripts name `env` by this path.
    await mkdir(join(root, 'usr/bin'), { recursive: true });
    await cp(program, join(root, 'usr/bin', plain.slice(plain.lastIndexOf('/') + 1)), { dereference: true });
    await copyLibraries(root, program);
  }
}

async function copyLibraries(root: string, program: string): Promise<void> {
  const { stdout } = await runProcess('ldd', [program], { timeoutMs: 20_000 });
  for (const [library] of stdout.matchAll(/\/[^ ]+/g))
    await cp(library, join(root, library), { dereference: true });
}

async function importImage(
  docker: Docker,
  root: string,
  name: string,
  changes: readonly string[],
): Promise<void> {
  const archive = `${root}.tar`;
  const packed = await runProcess('tar', ['-C', root, '-cf', archive, '.'], { timeoutMs: 60_000 });
  if (packed.code !== 0) throw new Error(`tar: ${packed.stderr}`);
  const { code, stderr } = await docker.docker(
    'import',
    ...changes.flatMap((change) => ['--change', change]),
    archive,
    name,
  );
  if (code !== 0) throw new Error(`docker import ${name}: ${stderr}`);
}
