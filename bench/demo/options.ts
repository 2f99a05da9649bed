import { Command, InvalidArgumentError } from 'commander';

export interface Options {
  /** The WAN's speed. */
  readonly bytesPerSecond: number;
  /** Of the image that one client pulls; the herd's has a third of it. */
  readonly imageBytes: number;
  /** Size of the herd. */
  readonly clients: number;
  /** Leave the edge running at the end. */
  readonly keep: boolean;
}

const HELP = `
Everything runs on this machine, without internet: a small central registry behind a link of that speed (20 ms before
each answer), and the edge as a user starts it. Every body that a client gets is checked against its digest.
Exit status: 0 all as promised, 1 not, 2 wrong usage. Ctrl-C ends everything.`;

const MOST_CLIENTS = 500;

/** Ends the process itself on --help and on wrong usage, as a command line is expected to. */
export function parseOptions(argv: readonly string[]): Options {
  const command = new Command('npm run demo --')
    .usage('[options]')
    .option('--speed <MB/s>', 'speed of the WAN', numberFrom(1), 25)
    .option('--size <MB>', "size of the image; the herd's has a third of it", numberFrom(1), 60)
    .option('--clients <n>', 'how many clients pull the cold image at once', clientCount, 50)
    .option('--keep', 'leave the edge running at the end, and say how to try it', false)
    .allowExcessArguments(false)
    .addHelpText('after', HELP)
    .exitOverride((error) => {
      process.exit(error.exitCode === 0 ? 0 : 2);
    });
  command.parse(argv, { from: 'user' });
  const given = command.opts<{ speed: number; size: number; clients: number; keep: boolean }>();
  return {
    bytesPerSecond: given.speed * 1e6,
    imageBytes: given.size * 1e6,
    clients: given.clients,
    keep: given.keep,
  };
}

function numberFrom(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isFinite(value) || value < least || value > 1000)
      throw new InvalidArgumentError(`It takes a number from ${least} to 1000.`);
    return value;
  };
}

function clientCount(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1 || value > MOST_CLIENTS)
    throw new InvalidArgumentError(`It takes a whole number from 1 to ${MOST_CLIENTS}.`);
  return value;
}
