import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { fileFindings } from '../../src/config/file-trust.ts';
import { tempFolder, type Teardown } from '../support/temp.ts';

/** A folder that all users get to. */
function openFolder(t: Teardown): string {
  const folder = tempFolder(t, 'trust');
  chmodSync(folder, 0o755);
  return folder;
}

function put(folder: string, mode: number): string {
  const path = join(folder, `mode-${mode.toString(8)}`);
  writeFileSync(path, 'x');
  chmodSync(path, mode);
  return path;
}

void t.test('by mode: what all can change is refused, what they can read is told of a secret', async (t) => {
  const folder = openFolder(t);
  for (const [mode, secret, refused, text] of [
    [0o600, true, false, undefined],
    [0o400, true, false, undefined],
    [0o440, true, false, undefined],
    [0o640, true, false, undefined],
    [0o644, false, false, undefined],
    [0o444, true, false, /holds a secret .* can read: chmod o-r \S+\.$/],
    [0o644, true, false, /holds a secret .* can read: chmod o-r /],
    [0o660, true, false, /changed by its group: chmod g-w /],
    [0o664, false, false, /changed by its group: chmod g-w /],
    [0o602, true, true, /changed by every user of this machine: chmod o-w \S+\.$/],
    [0o666, false, true, /changed by every user/],
    [0o777, true, true, /changed by every user/],
  ] as const) {
    const path = put(folder, mode);
    const findings = fileFindings([{ path, secret }]);
    const what = `${mode.toString(8)} ${secret}`;
    if (text === undefined) t.same(findings, [], what);
    else t.match(findings, [{ refused, text }], what);
    t.same(findings.length, text === undefined ? 0 : 1, what);
    for (const finding of findings) t.match(finding.text, path);
  }
});

void t.test('where others do not get to, a mode is only a mode', async (t) => {
  const folder = openFolder(t);
  chmodSync(folder, 0o700);
  for (const mode of [0o666, 0o644]) t.same(fileFindings([{ path: put(folder, mode), secret: true }]), []);
});

void t.test('a folder on the way that all can change holds what they put there', async (t) => {
  const folder = openFolder(t);
  const inner = join(folder, 'a');
  mkdirSync(join(inner, 'b'), { recursive: true });
  const path = put(join(inner, 'b'), 0o600);
  chmodSync(inner, 0o777);
  t.match(fileFindings([{ path, secret: true }]), [{ refused: true, text: `chmod o-w ${inner}.` }]);
  chmodSync(inner, 0o1777);
  t.same(fileFindings([{ path, secret: true }]), [], 'but for a sticky one, as /tmp');
  t.match(fileFindings([{ path: inner, secret: false }]), [], 'itself as well');
});

void t.test('of a link, what it leads to counts; what is not there has nothing to find', async (t) => {
  const folder = openFolder(t);
  const link = join(folder, 'link');
  symlinkSync(put(folder, 0o666), link);
  t.match(fileFindings([{ path: link, secret: true }]), [{ refused: true, text: link }]);
  t.same(fileFindings([{ path: join(folder, 'none'), secret: true }]), []);
  const path = put(folder, 0o644);
  t.equal(fileFindings([path, path, path].map((path) => ({ path, secret: true }))).length, 1, 'told once');
});

void t.test('the owner can change it: told when that is neither root nor the user of the edge', async (t) => {
  const folder = openFolder(t);
  const path = put(folder, 0o600);
  const { uid } = statSync(path);
  if (uid === 0) chownSync(path, 1234, -1);
  const owner = statSync(path).uid;
  t.same(fileFindings([{ path, secret: true }], owner), []);
  t.match(fileFindings([{ path, secret: true }], owner + 1), [
    { refused: false, text: `belongs to another user (${owner})` },
  ]);
  t.same(fileFindings([{ path: '/etc/passwd', secret: false }], owner + 1), [], 'root');
  t.equal(dirname(path), folder);
});
