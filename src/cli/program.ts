import { Argument, Command, CommanderError, Option } from 'commander';
import { CommandRefused } from '../admin/control-client.ts';
import { NotStoredError } from '../cache/pins/pin-stored.ts';
import { PinnedError } from '../cache/pins/pins.ts';
import { WriteError } from '../client-files/write-files.ts';
import { ConfigError } from '../config/problem.ts';
import { StartError } from '../start-error.ts';
import { CertificateError } from '../tls/certificate-error.ts';
import { access, ACTIONS, type WhoOptions } from './access.ts';
import { auditVerify } from './audit.ts';
import { cacheList, cachePurge, cacheStats } from './cache.ts';
import { certsClient, type ClientOptions } from './certificates/client.ts';
import { certsInit, certsShow } from './certificates/init-and-show.ts';
import { certsRotate, type RotateOptions } from './certificates/rotate.ts';
import { check } from './check.ts';
import { health } from './health.ts';
import { clientConfig, CLIENTS, type Client, type ClientConfigOptions } from './client-config.ts';
import { reload } from './reload.ts';
import { serve } from './serve.ts';
import { cachePin, cachePins, cacheUnpin } from './warm/pins.ts';
import { warm, type WarmOptions } from './warm/warm.ts';
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
  withEdgeOptions(program.command('health'))
    .description('ask the edge that runs on this configuration whether it serves: exit 0 or 1')
    .action((options: EdgeOptions) => health(options));
  addAccess(program.command('access'));
  addClientConfig(program.command('client-config'));
  withStorageOptions(withPlatform(program.command('warm <images...>')))
    .description('have the running edge fetch images before anybody asks for them')
    .action((images: string[], options: WarmOptions) => warm(images, options));
  withStorageOptions(program.command('reload'))
    .description(
      'have the edge that runs read its configuration and certificates again, without dropping a connection',
    )
    .action((options: EdgeOptions) => reload(options));
  addCacheCommands(program.command('cache').description('what is in the cache, and taking things out of it'));
  addCertsCommands(program.command('certs').description('the certificates of the TLS listener'));
  program
    .command('audit')
    .description('the record of accesses')
    .command('verify <files...>')
    .description('follow the chain of an audit log through its files, oldest first; exit 1 when it is broken')
    .action((files: string[]) => auditVerify(files));
  return program;
}

function addAccess(command: Command): void {
  withStorageOptions(command)
    .description(
      'say whether somebody may pull, push or delete an image, and by what; exit 1 when they may not',
    )
    .argument('<image>', 'what they would ask for')
    .addArgument(new Argument('[action]', 'what they would do').choices(ACTIONS).default('pull'))
    .option('--user <name>', 'who they are; nobody known unless given')
    .option('--group <name...>', 'groups of theirs', [])
    .option('--from <address>', 'where they come from', '127.0.0.1')
    .action((image: string, action: (typeof ACTIONS)[number], options: EdgeOptions & WhoOptions) =>
      access(image, action, options),
    );
}

function addClientConfig(command: Command): void {
  command
    .description('print, or write, the files that make a client pull through this edge, the CA included')
    .addArgument(new Argument('<client>', 'what pulls').choices(CLIENTS))
    .option('-c, --config <file>', 'configuration file (YAML)')
    .option('--upstream <url>', 'as given to serve')
    .option('--http <addr>', 'as given to serve')
    .option('--https <addr>', 'as given to serve')
    .option('--host <name[:port]>', 'what clients call the edge; by default the first of tls.names')
    .option('--plain', 'the listener without TLS')
    .option('--ca <file>', "the certificate of the CA to trust, in place of the local CA's")
    .option('--write <dir>', 'write the files below a folder that stands for /')
    .option('--force', 'replace files that are there already, keeping copies')
    .option('--json', 'print JSON')
    .action((client: Client, options: ClientConfigOptions) => clientConfig(client, options));
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
    .option('--force', 'pinned images, too')
    .action((images: string[], options: EdgeOptions & { all?: boolean; force?: boolean }) =>
      cachePurge(images, options),
    );
  withStorageOptions(withPlatform(cache.command('pin <images...>')))
    .description('keep images for good; a running edge fetches what is missing first')
    .action((images: string[], options: WarmOptions) => cachePin(images, options));
  withStorageOptions(cache.command('unpin <images...>'))
    .description('let images go when room is needed, as all others')
    .action((images: string[], options: EdgeOptions) => cacheUnpin(images, options));
  withStorageOptions(cache.command('pins'))
    .description('list the pinned images, and whether they are whole')
    .option('--json', 'print JSON')
    .action((options: EdgeOptions & { json?: boolean }) => cachePins(options));
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
    .command('client <name>')
    .description('make a certificate by which a client tells the edge who it is, with the local CA')
    .addOption(config)
    .option('--out <dir>', 'the folder for client.cert and client.key')
    .option('--days <n>', 'how long it is valid; a year by default')
    .action((name: string, options: ClientOptions) => certsClient(name, options));
  certs
    .command('show')
    .description('names, validity and fingerprints of the certificates')
    .addOption(config)
    .action((options: EdgeOptions) => certsShow(options));
}

function withPlatform(command: Command): Command {
  const platforms = new Option(
    '--platform <platforms>',
    'linux/amd64,linux/arm64/v8,... or all; what this host would pull unless given',
  );
  return command.addOption(platforms.argParser((text) => text.split(',')));
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

/** Their messages say what to do. */
const FOR_OPERATORS = [StartError, CertificateError, CommandRefused, PinnedError, NotStoredError, WriteError];

/** Says what went wrong, without a stack where the message is for the operator; returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ConfigError || error instanceof UsageError) {
    console.error(error.message);
    return 2;
  }
  if (error instanceof CommandRefused && error.usage) {
    console.error(error.message);
    return 2;
  }
  if (FOR_OPERATORS.some((kind) => error instanceof kind) && error instanceof Error) {
    console.error(`pierhead: ${error.message}`);
    return 1;
  }
  console.error('pierhead: this should not happen:', error);
  return 1;
}
