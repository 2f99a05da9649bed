import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../../test/support/eventually.ts';
import { portAnswers } from '../../test/support/processes.ts';
import { megabytes, times, type Figures } from './figures.ts';
import { promised } from './promise.ts';
import { pull, type Published, type Pulled } from './pull.ts';
import { FRESHNESS_SECONDS, type Stage } from './stage.ts';

export interface Act {
  readonly name: string;
  /** What happens, and what to look at; a line each. */
  readonly about: readonly [string, string];
  /** How many bytes the clients get when all goes well. */
  readonly clientBytes: number;
  /** What has to be so before the clock starts; returns what to say about it. */
  readonly prepare?: () => Promise<string>;
  readonly run: (onBytes: (bytes: number) => void) => Promise<readonly Pulled[]>;
  /**
   * Returns the remark of the table.
   * @throws {NotAsPromised}
   */
  readonly judge: (figures: Figures, pulled: readonly Pulled[], before: readonly Figures[]) => string;
}

export function actsOn(stage: Stage): Act[] {
  return [directPull(stage), coldPull(stage), warmPull(stage), herdPull(stage), pullAlone(stage)];
}

function directPull(stage: Stage): Act {
  const { app, central } = stage;
  return {
    name: 'direct pull',
    about: [
      'A client pulls from the central itself, without the edge.',
      'Look at the time: the WAN sets it, and the next client waits as long.',
    ],
    clientBytes: app.image.totalBytes,
    run: async (onBytes) => [await pullFrom(stage, central.url, app, onBytes)],
    judge: () => 'without the edge',
  };
}

function coldPull(stage: Stage): Act {
  const { app, edge } = stage;
  return {
    name: 'cold pull',
    about: [
      'The same image through the edge, which has nothing of it yet.',
      'Look at the time: the client gets the bytes while they come, not after.',
    ],
    clientBytes: app.image.totalBytes,
    run: async (onBytes) => [await pullFrom(stage, edge.http, app, onBytes)],
    judge: (figures) => `${onceOverTheWan(figures, app)} the image over the WAN`,
  };
}

function warmPull(stage: Stage): Act {
  const { app, edge } = stage;
  return {
    name: 'warm pull',
    about: [
      'The next client, the same image, the central still there.',
      'Look at the WAN: one question, whether the tag has moved, and not a byte.',
    ],
    clientBytes: app.image.totalBytes,
    run: async (onBytes) => [await pullFrom(stage, edge.http, app, onBytes)],
    judge: (figures, _, [direct]) => {
      promised(figures.wanBytes === 0, `a warm pull took ${figures.wanBytes} bytes over the WAN`);
      const factor = (direct?.seconds ?? 0) / figures.seconds;
      return `${times(factor, factor < 10 ? 1 : 0)} as fast as the direct pull`;
    },
  };
}

function herdPull(stage: Stage): Act {
  const { herd, edge, options } = stage;
  const { clients } = options;
  const clientBytes = herd.image.totalBytes * clients;
  const without = `${(clientBytes / options.bytesPerSecond).toFixed(0)} s`;
  return {
    name: 'herd',
    about: [
      `${clients} clients at once pull another image, which the edge has never seen.`,
      `Look at the WAN: it carries the image once. Without the edge it would be busy for ${without}.`,
    ],
    clientBytes,
    run: (onBytes) =>
      Promise.all(Array.from({ length: clients }, () => pullFrom(stage, edge.http, herd, onBytes))),
    judge: (figures) => `${clients} clients, ${onceOverTheWan(figures, herd)} the image over the WAN`,
  };
}

function pullAlone(stage: Stage): Act {
  const { app, central, edge } = stage;
  return {
    name: 'no central',
    about: [
      `The central is stopped, and what the edge knows of the tag is older than freshness.tag (${FRESHNESS_SECONDS} s).`,
      'Look: the pull works all the same.',
    ],
    clientBytes: app.image.totalBytes,
    prepare: async () => {
      await central.stop();
      await eventually(async () => !(await portAnswers(central.port)), {
        what: 'nothing listens where the central was',
      });
      await delay(FRESHNESS_SECONDS * 1000 + 200);
      return `(Nothing listens on port ${central.port} any more.)`;
    },
    run: async (onBytes) => [await pullFrom(stage, edge.http, app, onBytes)],
    judge: (_, pulled) => {
      const status = pulled[0]?.tagStatus;
      promised(
        status === 'pierhead; hit; detail=stale',
        `the tag was not served as stale, but as "${status}"`,
      );
      return 'the tag served as stale';
    },
  };
}

/** @throws {NotAsPromised} when the WAN carried more than the image, or less than what the clients say they got of it. */
function onceOverTheWan({ wanBytes }: Figures, { image, repository }: Published): string {
  const share = wanBytes / image.totalBytes;
  promised(
    wanBytes === image.totalBytes,
    `${repository} has ${image.totalBytes} bytes (${megabytes(image.totalBytes)}), and ${wanBytes} went over the WAN: ${times(share, 3)} the image`,
  );
  return times(share, 2);
}

function pullFrom(
  { options, app }: Stage,
  registry: string,
  wanted: Published,
  onBytes: (bytes: number) => void,
): Promise<Pulled> {
  // A generous limit: it is for a hang, and a slow link is none.
  const timeoutMs = 60_000 + Math.round((3000 * app.image.totalBytes) / options.bytesPerSecond);
  return pull(registry, wanted, { timeoutMs, onBytes });
}
