import { createServer, type Server, type ServerResponse } from 'node:http';

export interface AdminParts {
  /** True while clients are served. */
  readonly ready: () => boolean;
  readonly exposition: () => Promise<{ contentType: string; text: string }>;
  readonly failed: (error: unknown) => void;
}

/** `/healthz`, `/readyz` and `/metrics`: nothing here changes anything, and nothing here tells of images or callers. */
export function createAdminServer(parts: AdminParts): Server {
  return createServer({ maxHeaderSize: 16 * 1024, headersTimeout: 10_000 }, (request, response) => {
    void answer(parts, request.method ?? '', (request.url ?? '').split('?')[0] ?? '', response);
  });
}

async function answer(
  parts: AdminParts,
  method: string,
  path: string,
  response: ServerResponse,
): Promise<void> {
  try {
    if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return plain(response, 405, 'only GET and HEAD are served here');
    }
    if (path === '/healthz') return plain(response, 200, 'alive');
    if (path === '/readyz')
      return parts.ready() ? plain(response, 200, 'serving') : plain(response, 503, 'not serving');
    if (path !== '/metrics') return plain(response, 404, '/healthz, /readyz and /metrics are served here');
    const { contentType, text } = await parts.exposition();
    response.writeHead(200, { 'content-type': contentType });
    response.end(text);
  } catch (error) {
    parts.failed(error);
    if (!response.headersSent) plain(response, 500, 'failed; see the log');
  }
}

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
  });
  response.end(`${text}\n`);
}
