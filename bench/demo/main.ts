import { actsOn } from './acts.ts';
import { megabytes, renderTable, type Row } from './figures.ts';
import { parseOptions, type Options } from './options.ts';
import { play } from './play.ts';
import { NotAsPromised } from './promise.ts';
import { Screen } from './screen.ts';
import { buildStage, FRESHNESS_SECONDS, LATENCY_MS, type Stage } from './stage.ts';

process.exitCode = await main(parseOptions(process.argv.slice(2)));

async function main(options: Options): Promise<number> {
  const screen = new Screen(process.stdout);
  screen.line('Pierhead, a demonstration. Everything runs on this machine; the internet is not needed.');
  await using stage = await buildStage(options);
  present(screen, stage);
  const rows: Row[] = [];
  try {
    for (const [index, act] of actsOn(stage).entries()) {
      screen.title(`${index + 1}  ${act.name}`);
      rows.push(await play(act, stage.central, screen, rows));
    }
  } catch (error) {
    if (!(error instanceof NotAsPromised)) throw error;
    process.stderr.write(`\nNot as promised: ${error.message}\n`);
    return 1;
  }
  screen.line();
  screen.line(renderTable(rows));
  screen.line();
  screen.line('All as promised: every body had its digest.');
  if (options.keep) await keepRunning(screen, stage);
  return 0;
}

function present(screen: Screen, { central, edge, app, herd, options }: Stage): void {
  const images = [app, herd].map(
    ({ repository, tag, image }) =>
      `${repository}:${tag} (${megabytes(image.totalBytes)}, ${image.layers.length} layers)`,
  );
  screen.line();
  screen.note(`central  ${central.url}, ${images.join(', ')}`);
  screen.note(`WAN      ${options.bytesPerSecond / 1e6} MB/s, ${LATENCY_MS} ms before each answer`);
  screen.note(`edge     ${edge.http}, started as a user would: pierhead serve --config pierhead.yaml`);
  screen.note(
    `         (freshness.tag is ${FRESHNESS_SECONDS} s instead of 60 s, for act 5 not to take a minute)`,
  );
}

/** Until Ctrl-C, which is the ordinary end here. */
async function keepRunning(screen: Screen, { edge, app }: Stage): Promise<void> {
  const name = `${app.repository}:${app.tag}`;
  screen.line();
  screen.line(`The edge is still there, and the central still stopped. Try (Ctrl-C ends it):`);
  screen.note(`curl -sI ${edge.http}/v2/${app.repository}/manifests/${app.tag}`);
  screen.note(`docker pull ${new URL(edge.http).host}/${name}`);
  // Before the listeners that would end this process with 130; what ends at exit ends all the same.
  await new Promise(() => process.prependOnceListener('SIGINT', () => process.exit(0)));
}
