import { statSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { printable } from './problem.ts';

/** A file or folder that the edge takes something from. */
export interface TrustedFile {
  /** Absolute. */
  readonly path: string;
  /** Who reads it knows a secret. Whoever can change one of them commands the edge, secret or not. */
  readonly secret: boolean;
}

/** `refused`: nothing is to be taken from there. The text is a sentence that says what to do. */
export interface FileFinding {
  readonly refused: boolean;
  readonly text: string;
}

/** What the kernel shows for an owner that has no number here (user namespaces): it tells nothing. */
const NOBODY = 65_534;

/**
 * Who besides the user of the edge and root can change, or read, these. What every user can change is refused. Anything else is
 * told: groups are how Debian (`ssl-cert`), `LoadCredential` and shared administration give access, and containers get their secrets
 * in modes and from owners that nobody there can change. What is not there yet has nothing to find.
 */
export function fileFindings(files: readonly TrustedFile[], uid = process.getuid?.()): FileFinding[] {
  const seen = new Set<string>();
  return files.flatMap((file) => {
    if (seen.has(file.path)) return [];
    seen.add(file.path);
    return findingsOf(file, uid);
  });
}

function findingsOf({ path, secret }: TrustedFile, uid: number | undefined): FileFinding[] {
  const stats = statsOf(path);
  // A device is the system's (`/dev/null`), with the modes that it has everywhere.
  if (stats === undefined || stats.isCharacterDevice()) return [];
  const way = wayTo(path);
  const shown = printable(path);
  if (way.reachable && way.changeable !== undefined)
    return [refused(`${printable(way.changeable)}, the folder of ${shown}`, printable(way.changeable))];
  const findings: FileFinding[] = [];
  const sticky = stats.isDirectory() && (stats.mode & 0o1000) !== 0;
  if (way.reachable && (stats.mode & 0o002) !== 0 && !sticky) return [refused(shown, shown)];
  if (way.reachableByGroup && (stats.mode & 0o020) !== 0 && !sticky)
    findings.push(
      told(
        `${shown} can be changed by its group: chmod g-w ${shown}, unless all of them may command the edge.`,
      ),
    );
  if (secret && way.reachable && (stats.mode & 0o004) !== 0)
    findings.push(
      told(`${shown} holds a secret that every user of this machine can read: chmod o-r ${shown}.`),
    );
  if (uid !== undefined && ![0, uid, NOBODY].includes(stats.uid))
    findings.push(
      told(
        `${shown} belongs to another user (${stats.uid}), who can change it: chown it to root or to the user of the edge.`,
      ),
    );
  return findings;
}

function refused(what: string, path: string): FileFinding {
  return { refused: true, text: `${what} can be changed by every user of this machine: chmod o-w ${path}.` };
}

function told(text: string): FileFinding {
  return { refused: false, text };
}

interface WayThere {
  /** For every user: each folder above lets them through. */
  readonly reachable: boolean;
  readonly reachableByGroup: boolean;
  /** A folder above that every user can change: it holds whatever they put there. */
  readonly changeable: string | undefined;
}

/** What a mode says holds only for those whom every folder above lets through. */
function wayTo(path: string): WayThere {
  let way: WayThere = { reachable: true, reachableByGroup: true, changeable: undefined };
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const mode = statsOf(folder)?.mode ?? 0o755;
    const changeable = (mode & 0o002) !== 0 && (mode & 0o1000) === 0;
    way = {
      reachable: way.reachable && (mode & 0o001) !== 0,
      reachableByGroup: way.reachableByGroup && (mode & 0o011) !== 0,
      changeable: changeable ? folder : way.changeable,
    };
    if (folder === dirname(folder)) return way;
  }
}

/** Through links: certbot and Kubernetes hand files out as such. Whoever reads it says why one cannot be had. */
function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}
