import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { once } from 'node:events';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { BlobFiles, type OpenFile } from '../../src/store/blob-files.ts';
import { StoreLayout } from '../../src/store/layout.ts';
import { part } from '../support/parts.ts';
import { runProcess } from '../support/processes.ts';
import { tempFolder } from '../support/temp.ts';

const CONTENT = Buffer.from('the content of a blob');
const DIGEST = digestOf(CONTENT);

async function blobFiles(t: Test): Promise<BlobFiles> {
  const layout = new StoreLayout(tempFolder(t));
  await layout.create();
  return new BlobFiles(layout);
}

/** The path under which the blob is looked for; its folder is there. */
function place(files: BlobFiles, digest: Digest = DIGEST): string {
  const path = files.layout.blob(digest);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  return path;
}

async function contentOf(file: OpenFile | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const buffer = Buffer.alloc(file.size + 10);
  const length = await file.read(buffer, 0);
  await file.close();
  return buffer.toString('latin1', 0, length);
}

async function commit(files: BlobFiles, content = CONTENT): Promise<Digest> {
  const digest = digestOf(content);
  const partial = await files.openPartialForWriting(digest);
  writeSync(partial.fd, content);
  await files.commit(digest, partial);
  await partial.close();
  return digest;
}

void t.test('a fill’s file becomes the blob', async (t) => {
  const files = await blobFiles(t);
  t.equal(await files.open(DIGEST), undefined);
  t.equal(await files.openPartial(DIGEST), undefined);
  const partial = await files.openPartialForWriting(DIGEST);
  t.equal(partial.size, 0);
  writeSync(partial.fd, CONTENT.subarray(0, 5));
  t.equal(await contentOf(await files.openPartial(DIGEST)), 'the c');
  t.equal(await files.open(DIGEST), undefined, 'no blob before its commit');
  await partial.close();
  const resumed = await files.openPartialForWriting(DIGEST);
  t.equal(resumed.size, 5, 'opened again, it is as long as it was');
  writeSync(resumed.fd, CONTENT.subarray(5), 0, undefined, 5);
  await files.commit(DIGEST, resumed);
  await resumed.close();
  await resumed.close();
  t.equal(await contentOf(await files.open(DIGEST)), CONTENT.toString());
  t.equal(await files.openPartial(DIGEST), undefined);
  t.strictSame(readdirSync(files.layout.partial), []);
});

void t.test('files are 0600 and folders 0700, whatever the umask', async (t) => {
  const before = process.umask(0);
  t.teardown(() => process.umask(before));
  const files = await blobFiles(t);
  const partial = await files.openPartialForWriting(DIGEST);
  t.equal(statSync(files.layout.partialBlob(DIGEST)).mode & 0o7777, 0o600);
  await files.commit(DIGEST, partial);
  await partial.close();
  t.equal(statSync(files.layout.blob(DIGEST)).mode & 0o7777, 0o600);
  const { root, blobs, partial: partials, manifests, quarantine, meta } = files.layout;
  const folders = [
    root,
    blobs,
    partials,
    manifests,
    quarantine,
    meta,
    join(blobs, 'sha256'),
    files.layout.blobFolder(DIGEST),
  ];
  for (const folder of folders) t.equal(statSync(folder).mode & 0o7777, 0o700, folder);
});

void t.test('only regular files are served', async (t) => {
  const files = await blobFiles(t);
  const outside = join(tempFolder(t), 'secret');
  writeFileSync(outside, CONTENT);
  const path = place(files);
  const planted: Record<string, () => void> = {
    'a link to a file': () => symlinkSync(outside, path),
    'a link to a blob': () => symlinkSync(files.layout.blob(digestOf(Buffer.of(1))), path),
    'a link to nothing': () => symlinkSync('/nowhere', path),
    'a link to itself': () => symlinkSync(path, path),
    'a link to a folder': () => symlinkSync('/', path),
    'a link to a device': () => symlinkSync('/dev/zero', path),
    'a folder': () => mkdirSync(path),
    'a pipe': () => void spawnSync('/usr/bin/mkfifo', [path]),
    'a device': () => void spawnSync('/usr/bin/mknod', [path, 'c', '1', '5']),
  };
  await commit(files, Buffer.of(1));
  for (const [name, plant] of Object.entries(planted)) {
    plant();
    t.equal(await files.open(DIGEST), undefined, name);
    rmSync(path, { recursive: true, force: true });
  }
  linkSync(outside, path);
  t.equal(await contentOf(await files.open(DIGEST)), CONTENT.toString(), 'a hard link is the file itself');
});

void t.test('a socket is not served', async (t) => {
  const files = await blobFiles(t);
  const path = place(files);
  const server = createServer();
  // A socket's path may have no more than 107 bytes: it is bound elsewhere and linked in.
  const socket = join(tempFolder(t), 's');
  server.listen(socket);
  await once(server, 'listening');
  t.teardown(() => server.close());
  linkSync(socket, path);
  t.equal(await files.open(DIGEST), undefined);
});

void t.test('a partial that is no regular file is neither read nor written', async (t) => {
  const files = await blobFiles(t);
  const path = files.layout.partialBlob(DIGEST);
  const outside = join(tempFolder(t), 'victim');
  writeFileSync(outside, 'untouched');
  const planted = [
    () => symlinkSync(outside, path),
    () => symlinkSync(join(dirname(outside), 'made'), path),
    () => mkdirSync(path),
    () => void spawnSync('/usr/bin/mkfifo', [path]),
    () => linkSync(outside, path),
  ];
  for (const plant of planted) {
    plant();
    const followed = await files.openPartial(DIGEST);
    t.equal(await contentOf(followed), plant === planted.at(-1) ? 'untouched' : undefined);
    await t.rejects(files.openPartialForWriting(DIGEST));
    await files.removePartial(DIGEST);
    t.equal(existsSync(path), false);
  }
  t.equal(readFileSync(outside, 'utf8'), 'untouched');
  t.equal(existsSync(join(dirname(outside), 'made')), false, 'a link to nothing makes nothing');
});

void t.test('reading goes on after the blob was removed, replaced or set aside', async (t) => {
  const files = await blobFiles(t);
  await commit(files);
  const [removed, aside] = [await files.open(DIGEST), await files.open(DIGEST)];
  await files.remove(DIGEST);
  t.equal(await files.open(DIGEST), undefined);
  t.equal(await contentOf(removed), CONTENT.toString());
  await commit(files);
  await files.quarantine(DIGEST);
  t.equal(await files.open(DIGEST), undefined);
  t.strictSame(readdirSync(files.layout.quarantine), [DIGEST.replace(':', '-')]);
  t.equal(await contentOf(aside), CONTENT.toString());
});

void t.test('a follower reads on when its partial becomes the blob', async (t) => {
  const files = await blobFiles(t);
  const partial = await files.openPartialForWriting(DIGEST);
  writeSync(partial.fd, CONTENT.subarray(0, 4));
  const follower = await files.openPartial(DIGEST);
  writeSync(partial.fd, CONTENT.subarray(4));
  await files.commit(DIGEST, partial);
  await partial.close();
  const rest = Buffer.alloc(100);
  const length = (await follower?.read(rest, 4)) ?? 0;
  t.equal(rest.toString('latin1', 0, length), CONTENT.subarray(4).toString());
  t.equal(await follower?.read(rest, CONTENT.byteLength), 0, 'and no further than the file goes');
  await follower?.close();
});

void t.test('removing what is not there is nothing', async (t) => {
  const files = await blobFiles(t);
  await files.remove(DIGEST);
  await files.removePartial(DIGEST);
  await commit(files);
  await Promise.all([files.remove(DIGEST), files.remove(DIGEST)]);
  await files.remove(DIGEST);
  const path = place(files);
  const outside = join(tempFolder(t), 'kept');
  writeFileSync(outside, 'kept');
  symlinkSync(outside, path);
  await files.remove(DIGEST);
  t.throws(() => lstatSync(path), { code: 'ENOENT' });
  t.equal(readFileSync(outside, 'utf8'), 'kept', 'a link is removed, not what it points to');
  mkdirSync(join(path, 'inside'), { recursive: true });
  await files.remove(DIGEST);
  t.equal(existsSync(path), false);
});

void t.test('no descriptor stays open', async (t) => {
  const files = await blobFiles(t);
  const path = place(files);
  mkdirSync(path);
  const open = (): number => readdirSync('/proc/self/fd').length;
  await files.open(DIGEST);
  const before = open();
  for (let times = 0; times < 20; times += 1) {
    await files.open(DIGEST);
    await contentOf(await files.open(await commit(files, Buffer.from('another'))));
  }
  t.equal(open(), before);
});

void t.test('a commit syncs the file, renames it, and syncs the folder, one after the other', async (t) => {
  const folder = realpathSync(tempFolder(t));
  const trace = join(folder, 'trace');
  const calls = 'trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat';
  const script = fileURLToPath(new URL('./commit-once.ts', import.meta.url));
  const args = ['-f', '-y', '-s', '4096', '-e', calls, '-o', trace, process.execPath, script, folder];
  // What Node keeps of its own compiling is renamed into place as well.
  const env = { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' };
  const { code, stderr } = await runProcess(part('strace'), args, { env });
  t.equal(code, 0, stderr);
  const digest = digestOf(Buffer.alloc(100_000, 'blob'));
  const { layout } = new BlobFiles(new StoreLayout(folder));
  const [partial, blob] = [layout.partialBlob(digest), layout.blob(digest)];
  t.strictSame(tracedCalls(readFileSync(trace, 'utf8')), [
    `begin fsync ${partial}`,
    `end fsync`,
    `begin rename ${partial} ${blob}`,
    `end rename`,
    `begin fsync ${dirname(blob)}`,
    `end fsync`,
  ]);
});

/** The beginnings and the ends of the calls, in their order; a call without an end between is one line in the trace. */
function tracedCalls(trace: string): string[] {
  return trace.split('\n').flatMap((line) => {
    const resumed = /<\.\.\. (\w+) resumed>.*= 0$/.exec(line);
    if (resumed !== null) return [`end ${resumed[1]}`];
    const call = /^\d+ +(\w+)\((.*)$/.exec(line);
    if (call === null) return [];
    const [, name = '', rest = ''] = call;
    const paths = Array.from(rest.matchAll(/<(\/[^>]*)>|"([^"]*)"/g), ([, fd, text]) => fd ?? text);
    const begin = `begin ${name} ${paths.join(' ')}`;
    return rest.endsWith('= 0') ? [begin, `end ${name}`] : [begin];
  });
}
