import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { BlobFixture } from './images/blob.ts';
import { Contents } from './central/contents.ts';
import { FaultScript, matches, type Fault, type Match, type ScriptedFault } from './central/fault.ts';
import { readRequest, type CentralRequest, type RequestKind } from './central/request.ts';
import { send } from './central/send.ts';
import {
  applyFault,
  applyRange,
  contentShape,
  errorShape,
  jsonShape,
  shapeOf,
  type Shape,
} from './central/shape.ts';
import { Door, type AuthOptions } from './central/tokens.ts';
import type { ImageFixture } from './images.ts';
import { TokenBucket } from './token-bucket.ts';

export type { Fault, Match, ScriptedFault } from './central/fault.ts';
export type { CentralRequest } from './central/request.ts';

export interface CentralOptions {
  /** The loopback address by default. */
  readonly host?: string;
  readonly port?: number;
  /** Of all bodies together. */
  readonly bytesPerSecond?: number;
  /** Before each answer. */
  readonly latencyMs?: number;
  readonly auth?: AuthOptions;
  /** `key` and `cert`, and what else `node:https` takes. */
  readonly tls?: ServerOptions;
  /** Tokens expire by it. */
  readonly clock?: Clock;
}

/** A scriptable central registry over real HTTP, on the loopback address. */
export async function startCentral(options: CentralOptions = {}): Promise<Central> {
  const central = new Central(options);
  await central.start();
  return central;
}

export class Central implements AsyncDisposable {
  readonly host: string;
  readonly contents = new Contents();
  /** Who may come in; without the `auth` option, nobody is asked. */
  readonly door: Door | undefined;
  /** Every request since the start or since {@link forget}, in the order of arrival. */
  readonly log: CentralRequest[] = [];
  latencyMs: number;
  readonly #faults = new FaultScript();
  readonly #bucket: TokenBucket;
  readonly #scheme: 'http' | 'https';
  readonly #listeners: Listener[];
  #running = 0;

  constructor(options: CentralOptions) {
    this.host = options.host ?? '127.0.0.1';
    this.latencyMs = options.latencyMs ?? 0;
    this.#bucket = new TokenBucket(options.bytesPerSecond);
    this.#scheme = options.tls === undefined ? 'http' : 'https';
    if (options.auth !== undefined) this.door = new Door(options.auth, options.clock ?? systemClock);
    const serve = (message: IncomingMessage, response: ServerResponse): void =>
      void this.#serve(message, response);
    const make = (): Server =>
      options.tls === undefined
        ? createServer(LIMITS, serve)
        : createTlsServer({ ...LIMITS, ...options.tls }, serve);
    this.#listeners = [new Listener(make(), this.host, options.port ?? 0)];
    if (options.auth?.issuer === 'other') this.#listeners.push(new Listener(make(), this.host, 0));
  }

  get port(): number {
    return this.#listeners[0]?.port ?? 0;
  }

  get url(): string {
    return `${this.#scheme}://${this.host}:${this.port}`;
  }

  /** Where tokens are issued. */
  get issuerUrl(): string {
    return `${this.#scheme}://${this.host}:${this.#listeners.at(-1)?.port ?? 0}/token`;
  }

  get bytesPerSecond(): number {
    return this.#bucket.bytesPerSecond;
  }

  set bytesPerSecond(value: number) {
    this.#bucket.bytesPerSecond = value;
  }

  async start(): Promise<void> {
    for (const listener of this.#listeners) await listener.start();
    if (this.door !== undefined) this.door.realm = this.issuerUrl;
  }

  /** Breaks every connection; the port refuses new ones until the next {@link start}. Content and log stay. */
  async stop(): Promise<void> {
    for (const listener of this.#listeners) await listener.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Makes the requests that match go wrong. */
  on(match: Match, fault: Fault): ScriptedFault {
    return this.#faults.on(match, fault);
  }

  /** Everything works again. */
  heal(): void {
    this.#faults.clear();
  }

  addImage(repository: string, tag: string | undefined, image: ImageFixture): void {
    this.contents.addImage(repository, tag, image);
  }

  addBlob(repository: string, blob: BlobFixture | Buffer): BlobFixture {
    const fixture = Buffer.isBuffer(blob) ? BlobFixture.of(blob) : blob;
    this.contents.addBlob(repository, fixture);
    return fixture;
  }

  /** Any bytes under any type, for manifests that no tool would make. */
  addManifest(
    repository: string,
    tag: string | undefined,
    content: Buffer | string,
    mediaType: string,
  ): BlobFixture {
    const fixture = BlobFixture.of(Buffer.from(content), mediaType);
    this.contents.addManifest(repository, tag, fixture);
    return fixture;
  }

  moveTag(repository: string, tag: string, to: ImageFixture | string): void {
    this.contents.moveTag(repository, tag, typeof to === 'string' ? to : to.digest);
  }

  /** How many requests came: of a method, of a kind, for a digest or a tag; what is not given is any. */
  requests(method?: string, kind?: RequestKind, reference?: string): number {
    return this.find({
      ...(method === undefined ? {} : { method }),
      ...(kind === undefined ? {} : { kind }),
      ...(reference === undefined ? {} : { reference }),
    }).length;
  }

  find(match: Match): CentralRequest[] {
    return this.log.filter((request) => matches(request, match));
  }

  /** Bytes of bodies handed to sockets: for one digest or tag, or in all. */
  bytesSent(reference?: string): number {
    const counted = reference === undefined ? this.log : this.find({ reference });
    return counted.reduce((total, request) => total + request.bodyBytes, 0);
  }

  /** Answers under way. */
  get running(): number {
    return this.#running;
  }

  /** Empties the log, and with it the counters. */
  forget(): void {
    this.log.length = 0;
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = readRequest(message);
    this.log.push(request);
    this.#running += 1;
    message.resume();
    response.on('error', () => undefined);
    try {
      let shape = this.#answer(request);
      for (const fault of this.#faults.take(request)) shape = applyFault(shape, fault, request);
      shape = applyRange(shape, request.headers.range);
      if (this.latencyMs > 0) await delay(this.latencyMs);
      request.status = shape.status;
      request.done = await send(response, shape, {
        head: request.method === 'HEAD',
        bucket: this.#bucket,
        onSent: (bytes) => {
          request.bodyBytes += bytes;
        },
      });
    } catch (error) {
      // A mistake in a test's script must not look like one of the faults that it asked for.
      console.error('central:', request.method, request.url, error);
      response.destroy();
    } finally {
      this.#running -= 1;
    }
  }

  /** The truth, before any fault. */
  #answer(request: CentralRequest): Shape {
    const { kind, method, repository = '', reference = '' } = request;
    if (kind === 'token') return this.door?.issue(request) ?? errorShape(404, 'UNSUPPORTED');
    const refusal = this.door?.refuse(request);
    if (refusal !== undefined) return refusal;
    if (method !== 'GET' && method !== 'HEAD') return errorShape(405, 'UNSUPPORTED', { allow: 'GET, HEAD' });
    switch (kind) {
      case 'ping':
        return jsonShape(200, {});
      case 'blob': {
        const blob = this.contents.blob(repository, reference);
        if (blob === undefined) return errorShape(404, 'BLOB_UNKNOWN');
        return withType(contentShape(request, blob, true), 'application/octet-stream');
      }
      case 'manifest': {
        const manifest = this.contents.manifest(repository, reference);
        return manifest === undefined
          ? errorShape(404, 'MANIFEST_UNKNOWN')
          : contentShape(request, manifest, false);
      }
      case 'tags':
        return this.#tags(request);
      case 'referrers':
        return this.#referrers(request);
      case 'catalog':
        return this.#page(request, 'repositories', this.contents.repositories, {});
      case 'other':
        return shapeOf(404, undefined);
    }
  }

  #tags(request: CentralRequest): Shape {
    const { repository = '' } = request;
    const tags = this.contents.tags(repository);
    if (tags === undefined) return errorShape(404, 'NAME_UNKNOWN');
    return this.#page(request, 'tags', tags, { name: repository });
  }

  /** Distribution spec, "Listing Tags": pages of `n` names after `last`. */
  #page({ query, path }: CentralRequest, field: string, names: readonly string[], besides: object): Shape {
    const after = names.filter((name) => name > (query.get('last') ?? ''));
    const page = after.slice(0, Number(query.get('n') ?? after.length));
    const more = page.length < after.length && page.length > 0;
    const link = more ? { link: `<${path}?n=${page.length}&last=${page.at(-1)}>; rel="next"` } : {};
    return jsonShape(200, { ...besides, [field]: page }, link);
  }

  /** Distribution spec, "Listing Referrers". */
  #referrers({ repository = '', reference = '', query }: CentralRequest): Shape {
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const wanted = query.get('artifactType');
    const all = this.contents.referrers(repository, reference);
    const manifests = wanted === null ? all : all.filter((descriptor) => descriptor.artifactType === wanted);
    return jsonShape(
      200,
      { schemaVersion: 2, mediaType, manifests },
      { 'content-type': mediaType, ...(wanted === null ? {} : { 'oci-filters-applied': 'artifactType' }) },
    );
  }
}

/** No time limits: how long things take is for the tests to say. */
const LIMITS = { keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0, noDelay: true };

class Listener {
  port: number;
  readonly #server: Server;
  readonly #host: string;

  constructor(server: Server, host: string, port: number) {
    this.#server = server;
    this.#host = host;
    this.port = port;
  }

  async start(): Promise<void> {
    this.#server.listen(this.port, this.#host);
    await once(this.#server, 'listening');
    this.port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

function withType(shape: Shape, type: string): Shape {
  return shape.headers['content-type'] === undefined
    ? shape
    : { ...shape, headers: { ...shape.headers, 'content-type': type } };
}
