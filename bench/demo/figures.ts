/** What was counted in one act. */
export interface Figures {
  readonly seconds: number;
  /** Bytes of bodies that the clients got. */
  readonly clientBytes: number;
  /** Bytes of bodies that the central sent. */
  readonly wanBytes: number;
  /** Requests that reached the central. */
  readonly wanRequests: number;
}

/** An act that went as promised. */
export interface Row extends Figures {
  readonly act: string;
  readonly remark: string;
}

/** Decimal megabytes, as links are measured. */
export function megabytes(bytes: number): string {
  return bytes === 0 ? '0 MB' : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function times(factor: number, digits: number): string {
  return `${factor.toFixed(digits)} x`;
}

export function seconds(value: number): string {
  return `${value.toFixed(2)} s`;
}

const HEAD = ['act', 'time', 'to clients', 'over WAN', 'WAN requests', 'remark'];
const NUMBERS = new Set([1, 2, 3, 4]);

export function renderTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.act,
    seconds(row.seconds),
    megabytes(row.clientBytes),
    megabytes(row.wanBytes),
    String(row.wanRequests),
    row.remark,
  ]);
  const widths = HEAD.map((title, column) =>
    Math.max(title.length, ...cells.map((line) => line[column]?.length ?? 0)),
  );
  const rule = widths.map((width) => '─'.repeat(width)).join('──');
  const lines = [HEAD, ...cells].map((line) =>
    line
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return NUMBERS.has(column) ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
  return [lines[0], rule, ...lines.slice(1)].join('\n');
}
