import type { Reading } from '../problem.ts';
import type { HtpasswdEntry } from './access-config.ts';

/** A check at cost 14 takes more than a second of a processor. */
const BCRYPT = /^\$2[aby]\$(?:0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}$/;

/** As much of a name as a client can send. */
const MAX_USER_LENGTH = 255;

/** A file of `htpasswd -B`: a line per user, `NAME:HASH`, bcrypt only. Lines that are empty or begin with # are left out. */
export function readHtpasswd(content: Reading<string>): Reading<readonly HtpasswdEntry[]> {
  if ('problem' in content) return content;
  const entries = new Map<string, HtpasswdEntry>();
  for (const [at, line] of content.value.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const [user, hash] = [line.slice(0, Math.max(colon, 0)), line.slice(colon + 1)];
    if (user === '' || user.length > MAX_USER_LENGTH || /\p{Cc}/u.test(user) || !BCRYPT.test(hash))
      return {
        problem: `line ${at + 1} of the file is not NAME:HASH with a bcrypt hash of cost 4 to 14, as htpasswd -B writes it`,
      };
    if (entries.has(user)) return { problem: `line ${at + 1} of the file names a user for the second time` };
    entries.set(user, { user, hash });
  }
  return entries.size === 0 ? { problem: 'the file names no user' } : { value: [...entries.values()] };
}
