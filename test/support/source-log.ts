import type { SourceEvents } from '../../src/access/directory/source-events.ts';

/** What sources tell, as lines. */
export class SourceLog implements SourceEvents {
  readonly lines: string[] = [];

  changed(source: string, server: string, up: boolean, reason: string | undefined): void {
    this.lines.push(
      [source, server, up ? 'up' : 'down', ...(reason === undefined ? [] : [reason])].join(' '),
    );
  }

  unusable(source: string, reason: string): void {
    this.lines.push(`${source} ${reason}`);
  }
}
