import { fileURLToPath } from 'node:url';
import { parseOptions } from './options.ts';
import { contenderVersions } from './contenders/versions.ts';
import { writeResults } from './report/results-file.ts';
import { toRow, type Row } from './report/rows.ts';
import { renderTable, type Invalid } from './report/table.ts';
import { scenarios } from './scenarios/all.ts';
import type { Bench } from './scenario.ts';
import { Stage } from './stage.ts';

process.exitCode = await main();

async function main(): Promise<number> {
  const options = parseOptions(
    process.argv.slice(2),
    new Map(scenarios.map(({ name, about }) => [name, about])),
  );
  const chosen = scenarios.filter(
    ({ name }) => options.scenarios.length === 0 || options.scenarios.includes(name),
  );
  const startedAt = new Date();
  const progress = (step: string): void => {
    const seconds = ((Date.now() - startedAt.getTime()) / 1000).toFixed(0).padStart(4);
    process.stderr.write(`${seconds} s  ${step}\n`);
  };
  const rows: Row[] = [];
  const invalid: Invalid[] = [];
  const stage = new Stage(options, progress);
  try {
    const bench: Bench = { options, stage, progress };
    for (const scenario of chosen) {
      try {
        rows.push(...(await scenario.run(bench)).map(toRow));
      } catch (error) {
        progress(`${scenario.name} is invalid: ${String(error)}`);
        invalid.push({ scenario: scenario.name, reason: firstLine(error) });
      }
    }
  } finally {
    await stage[Symbol.asyncDispose]();
  }
  process.stdout.write(`${renderTable(rows, invalid)}\n`);
  const folder = fileURLToPath(new URL('results', import.meta.url));
  const file = await writeResults(folder, {
    startedAt,
    options,
    versions: await contenderVersions(),
    rows,
    invalid,
  });
  progress(`all samples are in ${file}`);
  return invalid.length === 0 ? 0 : 1;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
}
