import { get, type IncomingMessage } from 'node:http';
import { get as getSecurely } from 'node:https';
import { adminSpeaksTls } from '../config/access/admin-access.ts';
import type { ListenAddress } from '../config/config.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';
import { UsageError } from './usage-error.ts';

const TIMEOUT_MS = 2500;

/**
 * Asks the edge that runs on this configuration whether it serves: exit 0 or 1. For container health checks, which have
 * neither a shell nor curl in our image.
 */
export async function health(options: EdgeOptions): Promise<void> {
  const { listen } = configOf(options);
  const { admin } = listen;
  if (admin === null) throw new UsageError('listen.admin is off: there is nobody to ask');
  const scheme = adminSpeaksTls(listen) ? 'https' : 'http';
  const url = `${scheme}://${hostOf(admin)}:${admin.port}/readyz`;
  const answer = await statusOf(url);
  if (answer === 200) {
    console.log(`${url}: ready`);
    return;
  }
  console.log(`${url}: ${answer instanceof Error ? answer.message : `not ready (${answer})`}`);
  process.exitCode = 1;
}

/** A listener on all addresses is asked on the loopback one. */
function hostOf({ host }: ListenAddress): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}

function statusOf(url: string): Promise<number | Error> {
  return new Promise((resolve) => {
    const options = { timeout: TIMEOUT_MS, agent: false } as const;
    const answered = (response: IncomingMessage): void => {
      response.resume();
      resolve(response.statusCode ?? 0);
    };
    // Nothing secret is sent, and the certificate need not be for the address that this host has for itself.
    const sent = url.startsWith('https:')
      ? getSecurely(url, { ...options, rejectUnauthorized: false }, answered)
      : get(url, options, answered);
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    sent.on('error', resolve);
  });
}
