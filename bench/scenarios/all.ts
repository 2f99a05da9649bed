import type { Scenario } from '../scenario.ts';
import { coldBlob } from './cold-blob.ts';
import { herd } from './herd.ts';
import { smallBlob } from './small-blob.ts';
import { warmBlob } from './warm-blob.ts';
import { warmManifest } from './warm-manifest.ts';

/** In the order in which they run. */
export const scenarios: readonly Scenario[] = [warmManifest, smallBlob, warmBlob, coldBlob, herd];
