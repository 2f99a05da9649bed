import type { AuditEntry } from '../../src/audit/audit-entry.ts';

export function entry(overrides: Partial<AuditEntry> = {}): AuditEntry {
  return {
    timestamp: '2026-01-02T03:04:05.678Z',
    action: 'pull',
    user: 'anonymous',
    ip: '10.0.0.7',
    repository: 'docker.io/library/alpine',
    tags: ['3.20'],
    decision: 'allow',
    reason: 'network',
    status: 200,
    bytes: 1234,
    requestId: 'request-1',
    ...overrides,
  };
}

export async function* linesOf(text: string): AsyncIterable<string> {
  yield* text.split('\n');
}
