import { startEdge, type Edge } from '../app.ts';
import { adminSpeaksTls } from '../config/access/admin-access.ts';
import type { Config, ListenAddress } from '../config/config.ts';
import { clientTrustHint } from '../tls/describe-certificates.ts';
import { clientCommand } from './client-config.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';
import { version } from './version.ts';

/** Runs until a signal ends it. The log goes to standard output; what a person should know goes to standard error. */
export async function serve(options: EdgeOptions): Promise<void> {
  const config = configOf(options);
  // Before the start: the first worker may have clients while others still start.
  const stopped = untilTold();
  const toReload = untilStarted();
  const edge = await startEdge(config, () => configOf(options));
  toReload(edge);
  console.error(greeting(config, edge, options));
  await stopped;
  await edge.stop();
  // Timers and sockets of libraries must not keep a stopped edge alive.
  process.exit(0);
}

/** Before that Node would end the process at a SIGHUP; one that comes so early is made up for when the edge serves. */
function untilStarted(): (edge: Edge) => void {
  let early = false;
  let running: Edge | undefined;
  const reload = (): void => {
    early = true;
    running?.reload().catch((error: unknown) => console.error('pierhead: not reloaded:', messageOf(error)));
  };
  process.on('SIGHUP', reload);
  return (edge) => {
    running = edge;
    if (early) reload();
  };
}

/** Resolves at the first signal to stop; a second one, while starting or draining, ends the process at once. */
function untilTold(): Promise<void> {
  let told = false;
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT']) {
      process.on(signal, () => {
        if (told) process.exit(1);
        told = true;
        resolve();
      });
    }
  });
}

function greeting(config: Config, { listen, certificates }: Edge, options: EdgeOptions): string {
  const { http, https, admin } = listen;
  const lines = [`Pierhead ${version()} serves ${config.upstreams.map(({ name }) => name).join(', ')}`];
  if (http !== undefined) lines.push(`  http   ${urlOf('http', http)}`);
  if (https !== undefined) lines.push(`  https  ${urlOf('https', https)}`);
  if (admin !== undefined) {
    const scheme = adminSpeaksTls(config.listen) ? 'https' : 'http';
    lines.push(`  admin  ${urlOf(scheme, admin)}/metrics`);
  }
  lines.push(`  data   ${config.storage.path}`);
  const mirror = http === undefined ? https && urlOf('https', https) : urlOf('http', http);
  if (mirror !== undefined) {
    const setting = `{ "registry-mirrors": ["${mirror}"] }`;
    lines.push('', `Docker on this host: ${setting} in /etc/docker/daemon.json, and restart docker.`);
  }
  const command = clientCommand(options);
  if (certificates !== undefined && certificates.made !== 'none' && certificates.caFile !== undefined)
    lines.push('', clientTrustHint(certificates.caFile, command));
  else lines.push(`Other clients: ${command}`);
  return lines.join('\n');
}

function urlOf(scheme: string, { host, port }: ListenAddress): string {
  const anywhere = host === '0.0.0.0' || host === '::';
  const shown = anywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${scheme}://${shown}:${port}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
