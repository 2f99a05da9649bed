import { writeFile } from 'node:fs/promises';
import { freePorts } from './free-port.ts';
import { get } from './clients.ts';
import { part } from './parts.ts';
import { startProcess } from './processes.ts';
import { TempFolder } from './temp.ts';

export interface Haproxy extends AsyncDisposable {
  /** Passes TCP on to the edge's TLS listener, with the PROXY protocol, version 2, and checks its health the same way. */
  readonly tls: string;
  /** Passes TCP on to the plain listener, with version 1. */
  readonly plain: string;
  /** Speaks HTTP itself, and names the client in `X-Forwarded-For`. */
  readonly http: string;
}

/** A real HAProxy in front of an edge; what it opens comes from `address`. */
export async function startHaproxy(
  edge: { readonly http: string; readonly https: string },
  address: string,
): Promise<Haproxy> {
  const folder = new TempFolder('haproxy');
  const [tls = 0, plain = 0, http = 0, monitor = 0] = await freePorts(4);
  const server = (url: string, how: string): string =>
    `server edge ${new URL(url).host} source ${address} ${how}`;
  const file = folder.join('haproxy.cfg');
  const sections = [
    ['global', 'maxconn 500'],
    ['defaults', 'timeout connect 5s', 'timeout client 60s', 'timeout server 60s'],
    ['listen tls', 'mode tcp', bind(tls), server(edge.https, 'send-proxy-v2 check inter 200ms')],
    ['listen plain', 'mode tcp', bind(plain), server(edge.http, 'send-proxy')],
    ['listen http', 'mode http', 'option forwardfor', bind(http), server(edge.http, '')],
    ['frontend monitor', 'mode http', bind(monitor), 'monitor-uri /up'],
  ];
  await writeFile(file, sections.map((lines) => `${lines.join('\n  ')}\n`).join('\n'));
  try {
    const running = await startProcess(part('haproxy'), ['-db', '-f', file], {
      ready: async () => (await get(`http://127.0.0.1:${monitor}/up`)).status === 200,
    });
    return {
      tls: `https://127.0.0.1:${tls}`,
      plain: `http://127.0.0.1:${plain}`,
      http: `http://127.0.0.1:${http}`,
      [Symbol.asyncDispose]: async () => {
        await running.stop();
        await folder.remove();
      },
    };
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

function bind(port: number): string {
  return `bind 127.0.0.1:${port}`;
}
