import { startCentral, type Central } from '../../test/support/central.ts';
import { startEdge, type Edge } from '../../test/support/edge.ts';
import { createImage } from '../../test/support/images.ts';
import type { Options } from './options.ts';
import type { Published } from './pull.ts';

export const LATENCY_MS = 20;
/** Of a tag, set in the edge's configuration, where a minute is the default: the last act has to outwait it. */
export const FRESHNESS_SECONDS = 1;

const APP_LAYERS = [0.4, 0.26, 0.16, 0.1, 0.06, 0.02];
const HERD_LAYERS = [0.4, 0.3, 0.2, 0.1];

/** What the acts play on. */
export interface Stage {
  readonly options: Options;
  readonly central: Central;
  readonly edge: Pick<Edge, 'http'>;
  readonly app: Published;
  readonly herd: Published;
}

export interface BuiltStage extends Stage, AsyncDisposable {
  /** Ends the edge at once, whatever it is at; resolves when its processes and its folder are gone. */
  abandon(): Promise<void>;
}

export async function buildStage(options: Options): Promise<BuiltStage> {
  const { bytesPerSecond, imageBytes } = options;
  const parts = new AsyncDisposableStack();
  try {
    const central = parts.use(await startCentral({ bytesPerSecond, latencyMs: LATENCY_MS }));
    const app = publish(central, 'demo/app', imageBytes, APP_LAYERS);
    const herd = publish(central, 'demo/herd', imageBytes / 3, HERD_LAYERS);
    const edge = parts.use(
      await startEdge({
        config: {
          upstreams: [{ name: 'central', url: central.url, default: true }],
          freshness: { tag: `${FRESHNESS_SECONDS}s` },
        },
      }),
    );
    const end = (): Promise<void> => parts.disposeAsync();
    const abandon = async (): Promise<void> => {
      await edge.kill();
      await end();
    };
    return { options, central, edge, app, herd, abandon, [Symbol.asyncDispose]: end };
  } catch (error) {
    await parts.disposeAsync();
    throw error;
  }
}

function publish(
  central: Central,
  repository: string,
  totalBytes: number,
  shares: readonly number[],
): Published {
  const tag = '1.0';
  const image = createImage({
    layers: shares.map((share) => Math.round(totalBytes * share)),
    seed: repository,
    format: 'oci',
  });
  central.addImage(repository, tag, image);
  return { repository, tag, image };
}
