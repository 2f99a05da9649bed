import { askToWarm, type WarmCommand } from '../../admin/control-client.ts';
import { parseChoice } from '../../admin/control-protocol.ts';
import { PLATFORM_FORM, type PlatformChoice } from '../../oci/platform.ts';
import { StartError } from '../../start-error.ts';
import { configOf, type EdgeOptions } from '../edge-options.ts';
import { UsageError } from '../usage-error.ts';
import { controlSocketOf } from '../with-cache.ts';
import { WarmDisplay } from './display.ts';

export interface WarmOptions extends EdgeOptions {
  readonly platform?: readonly string[];
}

/** Exit 0 when all of it is in the cache, 1 when something could not be had. */
export async function warm(images: readonly string[], options: WarmOptions): Promise<void> {
  const config = configOf(options);
  choiceOf(options);
  const socket = await controlSocketOf(config);
  if (socket === undefined) {
    throw new StartError(
      `no edge runs on ${config.storage.path}: start it (pierhead serve), or name its folder with --data or --config`,
    );
  }
  await warmThrough(socket, { images, platforms: options.platform ?? [], pin: false });
}

/** Draws what the edge tells. Ctrl-C ends the drawing, and the edge starts no new fills. */
export async function warmThrough(socket: string, command: WarmCommand): Promise<void> {
  const display = new WarmDisplay(process.stdout);
  try {
    const results = await askToWarm(socket, command, (event) => display.show(event));
    if (results.some(({ outcome }) => outcome !== 'complete' && outcome !== 'stale')) process.exitCode = 1;
  } finally {
    display.end();
  }
}

/** @throws {UsageError} */
export function choiceOf({ platform = [] }: WarmOptions): PlatformChoice | undefined {
  const choice = parseChoice(platform);
  if (choice === 'unknown')
    throw new UsageError(
      `--platform: got ${JSON.stringify(platform.join(','))}; takes ${PLATFORM_FORM}, or all`,
    );
  return choice;
}
