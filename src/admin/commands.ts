import type { IncomingMessage, ServerResponse } from 'node:http';
import type { OperatorAct } from '../audit/audit-entry.ts';
import type { Inventory } from '../cache/inventory.ts';
import { PinnedError } from '../cache/pins/pins.ts';
import { imageText } from '../oci/image-reference.ts';
import { sendJson } from './answers.ts';
import {
  CONTROL_PATHS,
  parseForce,
  parseImages,
  parsePurge,
  parseWarm,
  type ReloadControl,
  type ReloadReport,
} from './control-protocol.ts';
import { streamWarm, type WarmControl } from './control-warm.ts';
import type { StateView } from './state-view.ts';

const MAX_BODY_BYTES = 64 * 1024;

/** What commands are carried out on; undefined as long as the edge starts. */
export interface Commanded {
  readonly inventory: () => Inventory | undefined;
  /** There whenever the inventory is. */
  readonly warming: () => WarmControl | undefined;
  readonly reloads: () => ReloadControl | undefined;
  readonly view: StateView;
}

/** One thing that can be asked of an edge that runs, through whichever door. */
export interface Command {
  /** What it goes on record as. Undefined: it only looks. */
  readonly act: OperatorAct | undefined;
  /** Reads what was asked; a text says what is wrong with it. */
  readonly prepare: (edge: Running, asked: unknown) => Work | string;
}

/** A command that was read and is not yet carried out. */
export type Work = {
  /** Where it is another than the command's. */
  readonly act?: OperatorAct;
  /** What it is done to; for the record. */
  readonly what: string;
} & (
  | { readonly run: () => Promise<Outcome> }
  /** Tells of itself while it runs. */
  | { readonly stream: (response: ServerResponse) => Promise<void> }
);

interface Outcome {
  readonly status: number;
  readonly content: unknown;
}

interface Running {
  readonly inventory: Inventory;
  readonly warming: WarmControl;
  readonly reloads: ReloadControl | undefined;
  readonly view: StateView;
}

/** Undefined: the edge is still starting. */
export function runningOf({ inventory, warming, reloads, view }: Commanded): Running | undefined {
  const [there, warms] = [inventory(), warming()];
  if (there === undefined || warms === undefined) return undefined;
  return { inventory: there, warming: warms, reloads: reloads(), view };
}

/** All commands, by method and path. None that changes something is a GET. */
export const COMMANDS: ReadonlyMap<string, Command> = new Map([
  [`GET ${CONTROL_PATHS.images}`, look('images', ({ inventory }) => inventory.images())],
  [`GET ${CONTROL_PATHS.stats}`, look('stats', ({ inventory }) => inventory.stats())],
  [`GET ${CONTROL_PATHS.pins}`, look('pins', ({ warming }) => warming.pins.pins())],
  [`GET ${CONTROL_PATHS.health}`, look('health', async ({ view }) => view.health())],
  [`GET ${CONTROL_PATHS.certificates}`, look('certificates', async ({ view }) => view.certificates())],
  [`POST ${CONTROL_PATHS.purge}`, { act: 'cache.purge', prepare: purge }],
  [`POST ${CONTROL_PATHS.unpin}`, { act: 'cache.unpin', prepare: unpin }],
  [`POST ${CONTROL_PATHS.warm}`, { act: 'warm', prepare: warm }],
  [`POST ${CONTROL_PATHS.pin}`, { act: 'cache.pin', prepare: pin }],
  [
    `POST ${CONTROL_PATHS.reload}`,
    { act: 'reload', prepare: ({ reloads }) => reload('all', reloads && (() => reloads.reload())) },
  ],
  [
    `POST ${CONTROL_PATHS.reloadCertificates}`,
    {
      act: 'reload',
      prepare: ({ reloads }) => reload('certificates', reloads && (() => reloads.reloadCertificates())),
    },
  ],
]);

/** Answers, and calls `acted` once it is known with which status. @throws what only the log should say; 500 by then. */
export async function carryOut(
  work: Work,
  response: ServerResponse,
  acted: (status: number) => void,
): Promise<void> {
  if ('stream' in work) {
    acted(200);
    return await work.stream(response);
  }
  const outcome = await work.run().catch((error: unknown): Outcome => {
    if (error instanceof PinnedError) return { status: 409, content: { error: error.message } };
    acted(500);
    throw error;
  });
  acted(outcome.status);
  sendJson(response, outcome.status, outcome.content);
}

/** What was sent, as JSON; undefined for what is none, or longer than any command. */
export async function readAsked(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  try {
    return bytes <= MAX_BODY_BYTES ? JSON.parse(Buffer.concat(chunks).toString('utf8')) : undefined;
  } catch {
    return undefined;
  }
}

function look(what: string, seen: (edge: Running) => Promise<unknown>): Command {
  const prepare = (edge: Running): Work => ({
    what,
    run: async () => ({ status: 200, content: await seen(edge) }),
  });
  return { act: undefined, prepare };
}

function purge({ inventory }: Running, asked: unknown): Work | string {
  const selector = parsePurge(asked);
  if (selector === undefined) return 'not a purge selector';
  const run = async (): Promise<Outcome> => ({
    status: 200,
    content: await inventory.purge(selector, parseForce(asked)),
  });
  return { what: JSON.stringify(selector), run };
}

function unpin({ warming }: Running, asked: unknown): Work | string {
  const images = parseImages(asked, warming.upstreams);
  if (typeof images === 'string') return images;
  const run = async (): Promise<Outcome> => {
    const unpinned: { image: string; was: boolean }[] = [];
    for (const image of images)
      unpinned.push({ image: imageText(image), was: await warming.pins.remove(image) });
    return { status: 200, content: unpinned };
  };
  return { what: images.map(imageText).join(' '), run };
}

function warm({ warming }: Running, asked: unknown): Work | string {
  const job = parseWarm(asked, warming.upstreams);
  if (typeof job === 'string') return job;
  return {
    ...(job.pin && { act: 'cache.pin' as const }),
    what: job.images.map(imageText).join(' '),
    stream: (response) => streamWarm(warming, job, response),
  };
}

function pin(edge: Running, asked: unknown): Work | string {
  return warm(edge, typeof asked === 'object' && asked !== null ? { ...asked, pin: true } : asked);
}

/** A refusal is the operator's to mend, and in the log already. */
function reload(what: string, reloaded: (() => Promise<ReloadReport>) | undefined): Work {
  const run = async (): Promise<Outcome> => {
    if (reloaded === undefined) return { status: 503, content: { error: 'the edge is still starting' } };
    return await reloaded().then(
      (content): Outcome => ({ status: 200, content }),
      (error: unknown): Outcome => ({
        status: 422,
        content: { error: error instanceof Error ? error.message : String(error) },
      }),
    );
  };
  return { what, run };
}
