import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { buildkitFiles } from '../client-files/buildkit.ts';
import type { ClientEdge, ClientFiles, Generated } from '../client-files/client-edge.ts';
import { containerdFiles } from '../client-files/containerd.ts';
import { dockerFiles } from '../client-files/docker.ts';
import { ViewError, viewEdge, type EdgeView, type ViewOptions } from '../client-files/edge-view.ts';
import { podmanFiles } from '../client-files/podman.ts';
import { writeClientFiles, type WrittenFile } from '../client-files/write-files.ts';
import { splitHostPort } from '../config/addresses.ts';
import { readCertificates } from '../config/secrets.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';
import { UsageError } from './usage-error.ts';

export const CLIENTS = ['docker', 'containerd', 'podman', 'buildkit'] as const;
export type Client = (typeof CLIENTS)[number];

const GENERATORS: Readonly<Record<Client, (edge: ClientEdge) => Generated>> = {
  docker: dockerFiles,
  containerd: containerdFiles,
  podman: podmanFiles,
  buildkit: buildkitFiles,
};

export interface ClientConfigOptions extends EdgeOptions {
  readonly host?: string;
  readonly plain?: boolean;
  readonly ca?: string;
  readonly write?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** Prints or writes the files that make a client pull through this edge. Warnings go to standard error. */
export async function clientConfig(client: Client, options: ClientConfigOptions): Promise<void> {
  if (options.force === true && options.write === undefined)
    throw new UsageError('--force is about files that are there already: it needs --write DIR');
  const { edge, warnings } = await view(options);
  const generated = GENERATORS[client](edge);
  if ('problem' in generated) throw new UsageError(generated.problem);
  const written =
    options.write === undefined
      ? undefined
      : await writeClientFiles(resolve(options.write), generated.files, { force: options.force === true });
  for (const warning of warnings) console.error(`warning: ${warning}`);
  console.log(
    options.json === true ? asJson(client, edge, generated, warnings, written) : asText(generated, written),
  );
}

/** What an operator types for the files of a client of the edge that these options start. */
export function clientCommand({ config }: EdgeOptions): string {
  return `pierhead client-config ${CLIENTS.join('|')}${config === undefined ? '' : ` --config ${config}`}`;
}

async function view(options: ClientConfigOptions): Promise<EdgeView> {
  const viewOptions: ViewOptions = {
    plain: options.plain === true,
    hostname: hostname(),
    ...(options.host === undefined ? {} : { host: parseHostOption(options.host) }),
    ...(options.ca === undefined ? {} : { ca: readCa(options.ca) }),
  };
  try {
    return await viewEdge(configOf(options), viewOptions);
  } catch (error) {
    if (error instanceof ViewError) throw new UsageError(error.message);
    throw error;
  }
}

function parseHostOption(text: string): { host: string; port: number | undefined } {
  const parsed = splitHostPort(text);
  if (parsed !== undefined && parsed.port !== 0) return parsed;
  throw new UsageError(`--host: got ${JSON.stringify(text)}; takes NAME, NAME:PORT, [IPV6] or [IPV6]:PORT`);
}

function readCa(file: string): string {
  const reading = readCertificates(file, { env: {}, folder: process.cwd(), cpus: 1 });
  if ('problem' in reading) throw new UsageError(`--ca: ${reading.problem}`);
  return reading.value;
}

function asJson(
  client: Client,
  { scheme, address }: ClientEdge,
  { files, notes }: ClientFiles,
  warnings: readonly string[],
  written: readonly WrittenFile[] | undefined,
): string {
  const shown = files.map(({ path, content }) => ({ path, content }));
  return JSON.stringify(
    { client, edge: `${scheme}://${address}`, files: shown, notes, warnings, ...(written && { written }) },
    undefined,
    2,
  );
}

function asText({ files, notes }: ClientFiles, written: readonly WrittenFile[] | undefined): string {
  const listed =
    written === undefined
      ? files.map(({ path, content }) => `==> ${path} <==\n${content.trimEnd()}`)
      : [written.map(writtenLine).join('\n')];
  const empty = files.length === 0 ? ['Nothing has to be written for this client.'] : listed;
  return [...empty, ...notes].join('\n\n');
}

function writtenLine({ file, outcome, backup }: WrittenFile): string {
  return `${outcome.padEnd(9)}  ${file}${backup === undefined ? '' : ` (before: ${backup})`}`;
}
