import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { reloadsOf } from '../../src/admin/control-client.ts';
import type { Answer } from './clients.ts';
import type { Edge } from './edge.ts';

/** The lines of an htpasswd file, as `htpasswd -B` writes them. */
export async function htpasswd(users: Readonly<Record<string, string>>): Promise<string> {
  const lines = Object.entries(users).map(async ([user, password]) => {
    const hash = await bcrypt.hash(password, 4);
    return `${user}:${hash.replace('$2b$', '$2y$')}\n`;
  });
  return (await Promise.all(lines)).join('');
}

/** Replaces a file in the edge's folder and has the edge read it. */
export async function reloadWith(edge: Edge, file: string, content: string): Promise<void> {
  await writeFile(join(edge.dir, `${file}.next`), content, { mode: 0o600 });
  await rename(join(edge.dir, `${file}.next`), join(edge.dir, file));
  await reloadsOf(join(edge.dir, 'data/v1/control.sock')).reload();
}

export function basic(user: string, password: string): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

export function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` };
}

/** @throws for an answer that holds no token. */
export function tokenIn({ status, body }: Answer): string {
  const { token } = JSON.parse(body.toString('utf8')) as { token?: unknown };
  if (typeof token !== 'string') throw new Error(`no token in an answer ${status}`);
  return token;
}
