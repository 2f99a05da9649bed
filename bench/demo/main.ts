import { actsOn } from './acts.ts';
import { megabytes, renderTable, type Row } from './figures.ts';
import { parseOptions, type Options } from './options.ts';
import { play } from './play.ts';
import { NotAsPromised } from './promise.ts';
import { Screen } from './screen.ts';
import { buildStage, FRESHNESS_SECONDS, LATENCY_MS, type BuiltStage, type Stage } from './stage.ts';

process.exitCode = await main(parseOptions(process.argv.slice(2)));

async function main(options: Options): Promise<number> {
  const screen = new Screen(process.stdout);
  screen.line('Pierhead, a demonstration. Everything runs on this machine; the internet is not needed.');
  await using stage = await buildStage(options);
  const interrupt = endOnInterrupt(stage);
  present(screen, stage);
  const rows: Row[] = [];
  try {
    for (const [index, act] of actsOn(stage).entries()) {
      screen.title(`${index + 1}  ${act.name}`);
      rows.push(await play(act, stage.central, screen, rows));
    }
  } catch (error) {
    await interrupt.ended;
    if (!(error instanceof NotAsPromised)) throw error;
    process.stderr.write(`\nNot as promised: ${error.message}\n`);
    return 1;
  }
  screen.line();
  screen.line(renderTable(rows));
  screen.line();
  screen.line('All as promised: every body had its digest.');
  if (options.keep) {
    interrupt.exitCode = 0;
    await keepRunning(screen, stage);
  }
  return 0;
}

interface Interrupt {
  exitCode: number;
  /** Set by Ctrl-C; does not resolve, for the process ends first. */
  ended?: Promise<void>;
}

/** A Ctrl-C takes the edge down first and waits for it, so that nothing is left; a second one does not wait. */
function endOnInterrupt(stage: BuiltStage): Interrupt {
  const interrupt: Interrupt = { exitCode: 130 };
  // Those of the stage's parts end this process before the edge has ended.
  process.removeAllListeners('SIGINT');
  process.once('SIGINT', () => {
    process.once('SIGINT', () => process.exit(130));
    interrupt.ended = stage.abandon().finally(() => process.exit(interrupt.exitCode));
  });
  return interrupt;
}

function present(screen: Screen, { central, edge, app, herd, options }: Stage): void {
  screen.line();
  screen.note(`central  ${central.url}`);
  for (const { repository, tag, image } of [app, herd]) {
    const size = `${megabytes(image.totalBytes)} in ${image.layers.length} layers`;
    screen.note(`         ${repository}:${tag}, ${size}`);
  }
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
  await new Promise(() => undefined);
}
