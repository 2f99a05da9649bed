import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { get } from '../../test/support/clients.ts';
import { freePorts } from '../../test/support/free-port.ts';
import { part } from '../../test/support/parts.ts';
import { startProcess } from '../../test/support/processes.ts';
import { TempFolder } from '../../test/support/temp.ts';
import type { Contender, ContenderOptions } from './contender.ts';

/** nginx as a cache, set up as well as we know how: the comparison is worth nothing against a weak set-up. */
export async function startNginx(options: ContenderOptions): Promise<Contender> {
  const folder = new TempFolder('bench-nginx');
  // nginx waits for a port that somebody else has just taken: an answer alone would not say whose it is.
  const nonce = randomUUID();
  const [http = 0, https = 0] = await freePorts(2);
  await mkdir(folder.join('temp'));
  await writeFile(folder.join('nginx.conf'), nginxConfig(folder.path, { http, https, nonce }, options));
  const args = ['-p', folder.path, '-c', folder.join('nginx.conf'), '-e', 'stderr'];
  try {
    const running = await startProcess(part('nginx'), args, { ready: () => answersAs(http, nonce) });
    return {
      name: 'nginx',
      plain: { url: `http://127.0.0.1:${http}`, pid: running.pid },
      secure: { url: `https://127.0.0.1:${https}`, pid: running.pid },
      lastWords: () => running.lastWords,
      async [Symbol.asyncDispose]() {
        await running.stop();
        await folder.remove();
      },
    };
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

async function answersAs(port: number, nonce: string): Promise<boolean> {
  const answer = await get(`http://127.0.0.1:${port}/bench-ready`, { keepBody: true }).catch(() => undefined);
  return answer?.body.toString() === nonce;
}

/**
 * Not its defaults where those would hurt it: the locks wait for ever (after the default 5 s, waiting clients all go
 * upstream by themselves), stale tags are renewed behind the answer, open files are remembered, each worker has its
 * own listening socket, and the key leaves `Accept` out, so that there is one entry per manifest.
 */
function nginxConfig(
  dir: string,
  { http, https, nonce }: { readonly http: number; readonly https: number; readonly nonce: string },
  options: ContenderOptions,
): string {
  const upstream = new URL(options.upstream).host;
  return `daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes ${options.workers};
worker_rlimit_nofile 16384;
pid ${dir}/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  aio off;
  tcp_nopush on;
  keepalive_timeout 120s;
  keepalive_requests 100000000;
  default_type application/octet-stream;
  client_body_temp_path ${dir}/temp/body;
  proxy_temp_path ${dir}/temp/proxy;
  fastcgi_temp_path ${dir}/temp/fastcgi;
  uwsgi_temp_path ${dir}/temp/uwsgi;
  scgi_temp_path ${dir}/temp/scgi;
  open_file_cache max=10000 inactive=10m;
  open_file_cache_valid 10m;
  proxy_cache_path ${dir}/cache levels=1:2 keys_zone=registry:16m max_size=50g inactive=1d use_temp_path=off;
  upstream central { server ${upstream}; keepalive 16; }
  server {
    listen 127.0.0.1:${http} reuseport;
    listen 127.0.0.1:${https} ssl reuseport;
    ssl_certificate ${options.certificate.cert};
    ssl_certificate_key ${options.certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host ${upstream};
    proxy_set_header Accept "${MANIFEST_TYPES}";
    proxy_cache registry;
    proxy_cache_key $uri;
    proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
    proxy_cache_lock on;
    proxy_cache_lock_timeout 1h;
    proxy_cache_lock_age 1h;
    proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
    proxy_cache_background_update on;
    location = /bench-ready { return 200 ${nonce}; }
    location ~ ^/v2/.+/(?:blobs|manifests)/sha256: { proxy_pass http://central; proxy_cache_valid 200 365d; }
    location /v2/ { proxy_pass http://central; proxy_cache_valid 200 60s; }
  }
}
`;
}

const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');
