import type { ContenderName, Target } from '../scenario.ts';
import type { Row } from './rows.ts';
import type { Summary } from './statistics.ts';

const RIVALS = ['direct', 'nginx', 'docker-registry'] as const;
const HEAD = ['scenario', 'metric', 'unit', 'pierhead', ...RIVALS.flatMap((name) => [name, `÷ ${name}`])];

/** A scenario that could not be run, or whose figures do not count. */
export interface Invalid {
  readonly scenario: string;
  readonly reason: string;
}

/** The one table: medians, and behind each the whole range of its runs. Notes stand below, numbered. */
export function renderTable(rows: readonly Row[], invalid: readonly Invalid[]): string {
  const failed = invalid.map(({ scenario, reason }) => `INVALID ${scenario}: ${reason}`);
  if (rows.length === 0) return failed.join('\n');
  const notes = [...new Set(rows.map((row) => row.note).filter((note) => note !== undefined))];
  const used = usedColumns(rows);
  const body = rows.map((row) => {
    const mark = row.note === undefined ? '' : ` [${notes.indexOf(row.note) + 1}]`;
    const rivals = RIVALS.flatMap((name) => [measured(row, name), ratio(row, name)]);
    return [
      row.scenario + mark,
      row.metric,
      row.unit,
      measured(row, 'pierhead'),
      ...rivals,
      targetOf(row.target),
      outcomeOf(row),
    ];
  });
  const table = [[...HEAD, 'target', ''], ...body].map((cells) => cells.filter((_, column) => used(column)));
  const lines = align(table);
  lines.splice(1, 0, '-'.repeat(lines[0]?.length ?? 0));
  return [...lines, ...notes.map((note, index) => `[${index + 1}] ${note}`), ...failed].join('\n');
}

/** A rival that no chosen scenario has would only widen the table. */
function usedColumns(rows: readonly Row[]): (column: number) => boolean {
  return (column) => {
    const rival = RIVALS[Math.floor((column - 4) / 2)];
    return column < 4 || rival === undefined || rows.some((row) => row.samples[rival] !== undefined);
  };
}

function measured(row: Row, name: ContenderName): string {
  const summary = row.summaries[name];
  return summary === undefined ? '-' : `${short(summary.median)}${spreadOf(summary)}`;
}

function ratio(row: Row, name: ContenderName): string {
  const summary = row.ratios[name];
  if (summary === undefined) return '-';
  const range = summary.runs > 1 ? ` (${factor(summary.low)}..${factor(summary.high)})` : '';
  return `${factor(summary.median)}${range}`;
}

/** Half the range, as a share of the median. */
function spreadOf(summary: Summary): string {
  if (summary.runs < 2 || summary.median === 0) return '';
  return ` ±${Math.round(((summary.high - summary.low) / 2 / Math.abs(summary.median)) * 100)}%`;
}

/** A hundredth matters near 1 and says nothing far from it. */
function factor(value: number): string {
  if (value >= 10) return short(value);
  return value < 0.1 ? value.toPrecision(1) : value.toFixed(2);
}

/** Three digits that mean something; thousands whole. */
function short(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function targetOf(target: Target | undefined): string {
  if (target === undefined) return '-';
  const bounds = [
    ...(target.atMost === undefined ? [] : [`<= ${target.atMost.toFixed(2)}`]),
    ...(target.atLeast === undefined ? [] : [`>= ${target.atLeast.toFixed(2)}`]),
  ];
  return `${target.of === 'ours' ? '' : `÷ ${target.of} `}${bounds.join(', ')}`;
}

function outcomeOf(row: Row): string {
  return row.outcome === 'no target' ? '' : row.outcome;
}

function align(table: readonly (readonly string[])[]): string[] {
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((cells) => cells[column]?.length ?? 0)),
  );
  return table.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
