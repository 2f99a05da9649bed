import { ms, type Milliseconds } from '../lib/brand.ts';
import { nextTime, type CronTime } from '../lib/timetable.ts';
import { parseImage, type ImageReference, type UpstreamName } from '../oci/image-reference.ts';
import { parsePlatform, PLATFORM_FORM, type Platform, type PlatformChoice } from '../oci/platform.ts';
import type { z } from 'zod';
import { booleanField, field, listOf, section, textField } from './fields.ts';
import { refusal, type Problem, type Reading } from './problem.ts';
import { DURATION_FORM, parseDuration } from './units.ts';

/** Images that the edge fetches by itself. */
export interface WarmConfig {
  /** For logs and metrics: as given, or the place in the list. */
  readonly name: string;
  readonly time: CronTime;
  /** A run starts up to so much later. */
  readonly jitter: Milliseconds;
  readonly images: readonly ImageReference[];
  /** Undefined: what this host would pull. */
  readonly platforms: PlatformChoice | undefined;
  readonly pin: boolean;
}

const SCHEDULE_FORM =
  'five fields, minute hour day month weekday, like "0 5 * * 1-5" (six with seconds in front), or @hourly, @daily, @weekly, @monthly';
const TIMEZONE_FORM = 'a time zone of the IANA list, like Europe/Berlin or UTC';
const NAME_FORM = 'a name of up to 40 letters, digits, dots, dashes and underscores';
const MAX_JITTER = ms(24 * 3_600_000);

/** The `warm` of a file. What its images are depends on the upstreams: see {@link completeWarm}. */
export function warmSchema() {
  const jitter = textField((text): Milliseconds | undefined => {
    const parsed = parseDuration(text);
    return parsed !== undefined && parsed <= MAX_JITTER ? parsed : undefined;
  }, `${DURATION_FORM}, at most 24h`);
  const entry = section({
    name: textField((text) => (/^[\w.-]{1,40}$/.test(text) ? text : undefined), NAME_FORM).optional(),
    schedule: field(readSchedule),
    timezone: textField(parseTimezone, TIMEZONE_FORM).optional(),
    jitter: jitter.default(ms(0)),
    images: listOf(
      textField((text) => text, 'an image'),
      'the images to fetch',
    ).min(1, {
      error: 'is empty; takes at least one image',
    }),
    platforms: listOf(textField(parseWanted, `${PLATFORM_FORM}, or all`), `${PLATFORM_FORM}, or all`).default(
      [],
    ),
    pin: booleanField().default(false),
  });
  return listOf(entry, 'a schedule each, with schedule and images').default([]);
}

/** Reads the images against the upstreams as they are in the end. */
export function completeWarm(
  entries: readonly z.output<ReturnType<typeof warmSchema>>[number][],
  upstreams: readonly UpstreamName[],
): { readonly schedules: WarmConfig[]; readonly problems: Problem[] } {
  const problems: Problem[] = [];
  const names = new Map<string, number>();
  const schedules = entries.map(({ name = '', schedule, timezone, platforms, ...entry }, at): WarmConfig => {
    const owner = names.get(name);
    if (name !== '' && owner !== undefined)
      problems.push({ key: `warm[${at}].name`, message: `"${name}" is already the name of warm[${owner}]` });
    names.set(name, at);
    const images = entry.images.flatMap((text, position) => {
      const read = parseImage(text, upstreams);
      if ('image' in read) return [read.image];
      const message = read.problem.startsWith('takes ')
        ? refusal(text, read.problem.slice(6))
        : `${JSON.stringify(text)}: ${read.problem}`;
      problems.push({ key: `warm[${at}].images[${position}]`, message });
      return [];
    });
    return {
      name: name === '' ? `warm[${at}]` : name,
      time: { pattern: schedule, timezone },
      jitter: entry.jitter,
      images,
      platforms: chosen(platforms),
      pin: entry.pin,
    };
  });
  return { schedules, problems };
}

function readSchedule(input: unknown): Reading<string> {
  const problem = { problem: refusal(input, SCHEDULE_FORM) };
  if (typeof input !== 'string') return problem;
  try {
    if (nextTime({ pattern: input, timezone: undefined }) !== undefined) return { value: input };
    return { problem: `${refusal(input, SCHEDULE_FORM)}; there is no such time` };
  } catch (error) {
    // Its message names the field that is wrong.
    return { problem: `${problem.problem} (${error instanceof Error ? error.message : String(error)})` };
  }
}

function parseTimezone(text: string): string | undefined {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

function parseWanted(text: string): Platform | 'all' | undefined {
  return text === 'all' ? text : parsePlatform(text);
}

function chosen(platforms: readonly (Platform | 'all')[]): PlatformChoice | undefined {
  const named = platforms.filter((platform) => platform !== 'all');
  if (named.length < platforms.length) return 'all';
  return named.length === 0 ? undefined : named;
}
