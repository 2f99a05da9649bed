import { Command, InvalidArgumentError } from 'commander';

export interface Options {
  /** Scenario names; empty means all. */
  readonly scenarios: readonly string[];
  readonly quick: boolean;
  /** Rounds; in each, every contender has its turn. */
  readonly runs: number;
  /** Length of one measurement with `wrk`. */
  readonly seconds: number;
  /** Worker processes of the edge and of nginx. */
  readonly workers: number;
}

const HELP = `
Every figure is measured in the same run for Pierhead, nginx (proxy_cache) and docker-registry (proxy mode).
The table goes to standard output, progress to standard error, all samples to bench/results/<date>.json.
Exit status: 0 all measured, 1 a scenario could not be run or a body was wrong, 2 wrong usage.
A missed target is marked in the table, and is no failure.`;

/** Ends the process itself on --help and on wrong usage, as a command line is expected to. */
export function parseOptions(argv: readonly string[], known: ReadonlyMap<string, string>): Options {
  const command = new Command('npm run bench --')
    .usage('[options] [scenario...]')
    .argument('[scenario...]', 'which ones to run (default: all)')
    .option('--quick', 'a short look: 1 round, short measurements, smaller herd', false)
    .option('--runs <n>', 'rounds, in which the contenders take turns (default: 5, quick: 1)', wholeNumber)
    .option('--seconds <n>', 'length of one measurement (default: 1.2, quick: 0.5)', positiveNumber)
    .option('--workers <n>', 'worker processes of the edge and of nginx', wholeNumber, 2)
    .addHelpText('after', `\nScenarios:\n${listed(known)}\n${HELP}`)
    .exitOverride((error) => {
      process.exit(error.exitCode === 0 ? 0 : 2);
    });
  command.parse(argv, { from: 'user' });
  const unknown = command.args.find((name) => !known.has(name));
  if (unknown !== undefined) {
    command.error(`error: no scenario is called '${unknown}'; there are ${[...known.keys()].join(', ')}`);
  }
  const given = command.opts<{ quick: boolean; runs?: number; seconds?: number; workers: number }>();
  return {
    scenarios: command.args,
    quick: given.quick,
    runs: given.runs ?? (given.quick ? 1 : 5),
    seconds: given.seconds ?? (given.quick ? 0.5 : 1.2),
    workers: given.workers,
  };
}

function listed(known: ReadonlyMap<string, string>): string {
  return [...known].map(([name, about]) => `  ${name.padEnd(15)}${about}`).join('\n');
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('It takes a whole number from 1.');
  return value;
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('It takes a number over 0.');
  return value;
}
