import type { z } from 'zod';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { FreshnessConfig } from '../config.ts';
import { DEFAULT_FRESHNESS } from '../defaults.ts';
import { section, textField } from '../fields.ts';
import { DURATION_FORM, parseDuration } from '../units.ts';

// Beyond 2^31 ms a timer of Node fires at once; an hour is longer than any client waits.
const MAX_DEADLINE = ms(3_600_000);

const duration = () => textField(parseDuration, DURATION_FORM);
const deadline = () => textField(parseDeadline, `${DURATION_FORM}, at most 1h`);

export function freshnessSchema() {
  return section({
    tag: duration().default(DEFAULT_FRESHNESS.tag),
    deadline: deadline().default(DEFAULT_FRESHNESS.deadline),
    staleIfError: duration().default(DEFAULT_FRESHNESS.staleIfError),
    negative: duration().default(DEFAULT_FRESHNESS.negative),
    verdict: duration().default(DEFAULT_FRESHNESS.verdict),
    verdictGrace: duration().default(DEFAULT_FRESHNESS.verdictGrace),
  });
}

/** What one upstream has otherwise than the rest. */
export function freshnessOverrides() {
  return section({
    tag: duration().optional(),
    deadline: deadline().optional(),
    staleIfError: duration().optional(),
    negative: duration().optional(),
    verdict: duration().optional(),
    verdictGrace: duration().optional(),
  });
}

export function completeFreshness(
  own: z.output<ReturnType<typeof freshnessOverrides>> | undefined,
  shared: FreshnessConfig,
): FreshnessConfig {
  return {
    tag: own?.tag ?? shared.tag,
    deadline: own?.deadline ?? shared.deadline,
    staleIfError: own?.staleIfError ?? shared.staleIfError,
    negative: own?.negative ?? shared.negative,
    verdict: own?.verdict ?? shared.verdict,
    verdictGrace: own?.verdictGrace ?? shared.verdictGrace,
  };
}

function parseDeadline(text: string): Milliseconds | undefined {
  const parsed = parseDuration(text);
  return parsed !== undefined && parsed <= MAX_DEADLINE ? parsed : undefined;
}
