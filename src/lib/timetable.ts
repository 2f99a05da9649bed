import { Cron } from 'croner';

/** When something is to happen again and again. */
export interface CronTime {
  /** Five fields (minute hour day month weekday), six with seconds in front, or a word like `@daily`. */
  readonly pattern: string;
  /** An IANA name; the host's own when undefined. */
  readonly timezone: string | undefined;
}

/** Calls back by the wall clock; injected, so that tests fire by hand. */
export interface Timetable {
  /** Calls `run` at each time until the returned function is called. Never keeps the process alive. */
  at(time: CronTime, run: () => void): () => void;
}

export const cronTimetable: Timetable = {
  at: ({ pattern, timezone }, run) => {
    const job = new Cron(pattern, { ...optionsFor(timezone), unref: true }, run);
    return () => job.stop();
  },
};

/** The next time; undefined when there never is one (30 February). @throws when the pattern or the zone is none. */
export function nextTime({ pattern, timezone }: CronTime): Date | undefined {
  // Croner would take a date for a schedule that fires once.
  if (/^\d{4}-/.test(pattern.trim())) throw new RangeError('a date, not a pattern');
  const job = new Cron(pattern, { ...optionsFor(timezone), paused: true });
  try {
    return job.nextRun() ?? undefined;
  } finally {
    job.stop();
  }
}

function optionsFor(timezone: string | undefined): { mode: '5-or-6-parts'; timezone?: string } {
  return { mode: '5-or-6-parts', ...(timezone !== undefined && { timezone }) };
}
