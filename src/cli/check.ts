import { constants } from 'node:fs';
import { access, mkdir, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { isServed } from '../admin/control-client.ts';
import { filesFound } from '../app-files.ts';
import type { Config, ListenAddress, UpstreamConfig } from '../config/config.ts';
import type { WarmConfig } from '../config/warm.ts';
import { systemClock } from '../lib/clock.ts';
import { nextTime } from '../lib/timetable.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';
import { StoreLayout } from '../store/layout.ts';
import { createCredentialSource } from '../upstream/credentials/create-source.ts';
import { UpstreamClient } from '../upstream/upstream-client.ts';
import { UpstreamError } from '../upstream/upstream.ts';
import { checkCertificates, type Report } from './certificates/check-certificates.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';
import { sizeText } from './units-text.ts';

const NO_TOKENS = { get: async () => undefined, put: async () => undefined, delete: async () => undefined };

/** Tries everything that a start needs, and says what to mend. Exit 1 when something would not work. */
export async function check(options: EdgeOptions): Promise<void> {
  const config = configOf(options);
  let failed = false;
  const report: Report = (verdict, what, text) => {
    failed ||= verdict === 'fail';
    console.log(`${verdict.padEnd(4)}  ${what.padEnd(22)}  ${text}`);
  };
  report('ok', 'configuration', options.config ?? 'defaults, no file');
  for (const { refused, text } of filesFound(config)) report(refused ? 'fail' : 'warn', 'files', text);
  const running = await isServed(new StoreLayout(config.storage.path).controlSocket);
  await checkStorage(config, running, report);
  await checkCertificates(config, report);
  for (const name of ['https', 'http', 'admin'] as const)
    await checkListener(name, config.listen[name], running, report);
  if (config.redis !== null) {
    const { checkRedis } = await import('./check-redis.ts');
    await checkRedis(config.redis, report);
  }
  if (config.auth.mode === 'edge') {
    const { checkSources } = await import('./check-sources.ts');
    await checkSources(config.auth.edge, report);
  }
  for (const upstream of config.upstreams) await checkUpstream(upstream, report);
  for (const schedule of config.warm) checkWarm(schedule, report);
  if (failed) process.exitCode = 1;
}

async function checkStorage({ storage }: Config, running: boolean, report: Report): Promise<void> {
  try {
    await mkdir(storage.path, { recursive: true, mode: 0o700 });
    await access(storage.path, constants.W_OK | constants.X_OK);
    const { bsize, blocks, bavail } = await statfs(storage.path);
    const used = 1 - bavail / blocks;
    const text = `${storage.path}: ${sizeText(bavail * bsize)} free${running ? '; an edge runs on it' : ''}`;
    if (used > storage.highWatermark) {
      const percent = `${Math.round(used * 100)}% used, over storage.highWatermark: blobs would be evicted at once`;
      report('warn', 'storage.path', `${text}; ${percent}`);
    } else if (storage.maxSize > bavail * bsize) {
      report('warn', 'storage.path', `${text}, less than storage.maxSize: the watermark will decide`);
    } else report('ok', 'storage.path', text);
  } catch (error) {
    report(
      'fail',
      'storage.path',
      `${storage.path} cannot be written (${messageOf(error)}): choose another folder or its owner`,
    );
  }
}

async function checkListener(
  name: string,
  address: ListenAddress | null,
  running: boolean,
  report: Report,
): Promise<void> {
  const what = `listen.${name}`;
  if (address === null) return report('ok', what, 'off');
  const shown = `${address.host}:${address.port}`;
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(address, resolve);
    });
    server.close();
    report('ok', what, shown);
  } catch (error) {
    if (running) report('ok', what, `${shown}: taken, by the edge that runs`);
    else
      report(
        'fail',
        what,
        `${shown}: ${messageOf(error)}: end the program that has it, or choose another port`,
      );
  }
}

/** Asks for something that need not exist: any answer but a failure says that the upstream can be asked. */
async function checkUpstream(options: UpstreamConfig, report: Report): Promise<void> {
  const what = `upstream ${options.name}`;
  if (!(await checkCredentials(options, report))) return;
  const repository = parseRepositoryName('library/alpine');
  if (repository === undefined) return;
  const client = new UpstreamClient(options, { clock: systemClock, tokens: NO_TOKENS });
  try {
    const response = await client.ask({ method: 'HEAD', repository, path: 'manifests/latest', attempts: 1 });
    response.body.destroy();
    if (response.status === 401 && options.credentials !== undefined) {
      report('fail', what, 'the credentials were refused (401): mend upstreams[].credentials');
    } else report('ok', what, `${options.urls[0]} answers`);
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    const advice =
      'the edge starts without it and serves what is cached; mend the URL, the name service or the route';
    report('warn', what, `${error.message}: ${advice}`);
  } finally {
    await client.close();
  }
}

/** Runs the program that gives them, if one does, and says whose they are. False when there is nothing to ask with. */
async function checkCredentials({ name, credentials }: UpstreamConfig, report: Report): Promise<boolean> {
  if (credentials === undefined || 'password' in credentials) return true;
  const what = `credentials ${name}`;
  const source = createCredentialSource(name, credentials, {
    clock: systemClock,
    onFailure: () => undefined,
  });
  const program = 'helper' in credentials ? `docker-credential-${credentials.helper}` : credentials.exec.file;
  try {
    const given = await source.get();
    if (given === undefined) return true;
    const whose = 'identityToken' in given ? 'an identity token' : `those of ${given.username}`;
    const until =
      given.expiresAt === undefined
        ? `asked again after ${credentials.ttl / 1000} s`
        : `they expire at ${new Date(given.expiresAt).toISOString()}`;
    report('ok', what, `${program} gives ${whose}; ${until}`);
    return true;
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    report('fail', what, `${error.message}: run it by hand as the user of the edge`);
    return false;
  }
}

/** What is wrong with one was a problem of the configuration already; when it comes is for a person to see. */
function checkWarm({ name, time, images }: WarmConfig, report: Report): void {
  const next = nextTime(time)?.toLocaleString('sv-SE', {
    timeZone: time.timezone,
    timeZoneName: 'short',
  });
  report('ok', `warm ${name}`, `next ${next}, ${images.length} image${images.length === 1 ? '' : 's'}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
