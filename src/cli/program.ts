import { Command, CommanderError, Option } from 'commander';
import { EdgeRefused } from '../admin/control-client.ts';
import { ConfigError } from '../config/problem.ts';
import { StartError } from '../start-error.ts';
import { CertificateError } from '../tls/certificate-error.ts';
import { cacheList, cachePurge, cacheStats } from './cache.ts';
import { certsInit, certsShow } from './certificates/init-and-show.ts';
import { certsRotate, type RotateOptions } from './certificates/rotate.ts';
import { check } from './check.ts';
import { reload } from './reload.ts';
import { serve } from './serve.ts';
import type { EdgeOptions } from './edge-options.ts';
import { UsageError } from './usage-error.ts';
import { version } from './version.ts';

/** The command line. Exit 0 done, 1 failed, 2 wrong usage or configuration. */
export async function runCommand(argv: readonly string[]): Promise<void> {
  try {
    await createProgram().parseAsync([...argv]);
  } catch (error) {
    process.exitCode = report(error);
  }
}

function createProgram(): Command {
  const program = new Command('pierhead')
    .description('Pull-through caching edge proxy for container registries.')
    .version(version())
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride();
  withEdgeOptions(program.command('serve'))
    .description('run the edge until SIGTERM; SIGHUP reads configuration and certificates again')
    .action((options: EdgeOptions) => serve(options));
  withEdgeOptions(program.command('check'))
    .description('try configuration, disk, certificates, ports and upstreams, and say what to mend')
    .action((options: EdgeOptions) => check(options));
  withStorageOptions(program.command('reload'))
    .description(
      'have the edge that runs read its configuration and certificates again, without dropping a connection',
    )
    .action((options: EdgeOptions) => reload(options));
  addCacheCommands(program.command('cache').description('what is in the cache, and taking things out of it'));
  addCertsCommands(program.command('certs').description('the certificates of the TLS listener'));
  return program;
}

function addCacheCommands(cache: Command): void {
  withStorageOptions(cache.command('ls [repository]'))
    .description('list the cached tags, of all repositories or of one')
    .option('--json', 'print JSON')
    .action((repository: string | undefined, options: EdgeOptions & { json?: boolean }) =>
      cacheList(repository, options),
    );
  withStorageOptions(cache.command('stats'))
    .description('how much is stored')
    .option('--json', 'print JSON')
    .action((options: EdgeOptions & { json?: boolean }) => cacheStats(options));
  withStorageOptions(cache.command('purge [images...]'))
    .description('take images (REPOSITORY or REPOSITORY:TAG) out of the cache; shared blobs stay')
    .option('--all', 'take out everything')
    .action((images: string[], options: EdgeOptions & { all?: boolean }) => cachePurge(images, options));
}

function addCertsCommands(certs: Command): void {
  const config = new Option('-c, --config <file>', 'configuration file');
  certs
    .command('init')
    .description('make a local CA and a server certificate, unless they are there, and say what clients need')
    .addOption(config)
    .action((options: EdgeOptions) => certsInit(options));
  withStorageOptions(certs.command('rotate'))
    .description('replace the server certificate and its key, and have the edge that runs serve them')
    .option('--ca', 'replace the local CA as well: clients have to be given the new one')
    .option('--prepare', 'with --ca: only make the next CA, to be given to clients beforehand')
    .action((options: RotateOptions) => certsRotate(options));
  certs
    .command('show')
    .description('names, validity and fingerprints of the certificates')
    .addOption(config)
    .action((options: EdgeOptions) => certsShow(options));
}

function withStorageOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file (YAML)')
    .option('--data <dir>', 'storage folder');
}

function withEdgeOptions(command: Command): Command {
  return withStorageOptions(command)
    .option('--upstream <url>', 'default upstream registry')
    .option('--http <addr>', 'plain listener, HOST:PORT or off')
    .option('--https <addr>', 'TLS listener, HOST:PORT or off')
    .option('--admin <addr>', 'health and metrics listener, HOST:PORT or off')
    .option('--redis <url>', 'shared metadata store')
    .option('--workers <n>', 'worker processes, or auto')
    .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent');
}

/** Says what went wrong, without a stack where the message is for the operator; returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ConfigError || error instanceof UsageError) {
    console.error(error.message);
    return 2;
  }
  if (error instanceof StartError || error instanceof CertificateError || error instanceof EdgeRefused) {
    console.error(`pierhead: ${error.message}`);
    return 1;
  }
  console.error('pierhead: this should not happen:', error);
  return 1;
}
