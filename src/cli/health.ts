import { get } from 'node:http';
import type { ListenAddress } from '../config/config.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';
import { UsageError } from './usage-error.ts';

const TIMEOUT_MS = 2500;

/**
 * Asks the edge that runs on this configuration whether it serves: exit 0 or 1. For container health checks, which have
 * neither a shell nor curl in our image.
 */
export async function health(options: EdgeOptions): Promise<void> {
  const { admin } = configOf(options).listen;
  if (admin === null) throw new UsageError('listen.admin is off: there is nobody to ask');
  const url = `http://${hostOf(admin)}:${admin.port}/readyz`;
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
    const sent = get(url, { timeout: TIMEOUT_MS, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    sent.on('error', resolve);
  });
}
