import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../base/clock.ts';
import { unreachable } from '../base/unreachable.ts';
import { type Digest, digestOf, parseDigest } from '../model/digest.ts';
import { parseTag, type Tag } from '../model/tag.ts';
import type { AttemptGate } from './authorizer.ts';
import type { BuildGrant } from './build-grant.ts';
import { readBody } from './manifest-body.ts';
import { sendOciError } from './oci-error-response.ts';
import type { Push } from './registry.ts';
import { allows, formatScope, type RegistryAccess } from './registry-access.ts';
import { clientHeaders, linger, RegistryProxy, sendUnavailable, UpstreamGone } from './registry-proxy.ts';
import { actionsFor, parseRegistryRoute, type RegistryRoute } from './registry-route.ts';
import type { RegistryToken, TokenService } from './token-service.ts';

export interface GatewayOptions {
  /** Where the registry process listens. */
  readonly socketPath: string;
  readonly tokens: TokenService;
  readonly attempts: AttemptGate;
  readonly clock: Clock;
  /** Nothing is written, whoever asks. */
  readonly readOnly?: boolean;
  /** `http(s)://host[:port]` of this server as the client of that request knows it. */
  readonly publicOrigin: (incoming: IncomingMessage) => string;
  /** Told of every accepted manifest before the client is; when it throws, the client gets a 503 and pushes again. */
  readonly onPush: (push: Push) => Promise<void>;
  /** Told whenever a build is turned away because its attempt is not current. */
  readonly onStale?: () => void;
  /** Told of faults that are neither the client's nor the registry's. */
  readonly onFault: (error: unknown) => void;
}

/** Something that somebody did to images by hand; what builds push is told elsewhere. */
export interface ImageChange {
  readonly kind: 'push' | 'delete';
  /** The user or robot. */
  readonly by: string;
  readonly repository: string;
  /** A tag or digest. */
  readonly reference: string;
  readonly digest?: Digest;
}

/** Told of changes before they are answered, but for deletions, whose answers are passed on as they come. */
export type ImageWitness = (change: ImageChange) => Promise<void>;

const largestManifest = 4 * 1024 * 1024;
/** How long an attempt that was found current may go on reading, and sending parts of blobs, without being asked again. */
const gateMemory = 1_000;
const rememberedAttempts = 1_000;

type ManifestRoute = Extract<RegistryRoute, { kind: 'manifest' }>;

/**
 * The only way to the registry process from outside: answers everything below `/v2/` but `/v2/auth`.
 *
 * It lets through only what the protocol has, asks for our bearer token (which the registry then verifies once
 * more), and fences builds: a token of an attempt that is not current any more is refused, at every start of an
 * upload and every manifest by asking the gate, otherwise by what the gate said in the last second. What a
 * worker of ours pushes under a tag is stored by digest alone, so that only the manager writes tags.
 */
export class RegistryGateway {
  readonly #options: GatewayOptions;
  readonly #proxy: RegistryProxy;
  readonly #current = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#proxy = new RegistryProxy(options.socketPath);
  }

  /** Answers a request; never throws. The server must not limit how long a request's body may take. */
  handle(incoming: IncomingMessage, response: ServerResponse, witness?: ImageWitness): void {
    const answered = this.#answer(incoming, response, witness).catch((error: unknown) => {
      if (!(error instanceof UpstreamGone)) this.#options.onFault(error);
      sendUnavailable(response);
      linger(incoming);
    });
    this.#running.add(answered);
    void answered.finally(() => this.#running.delete(answered));
  }

  /** Requests being answered now. */
  get open(): number {
    return this.#running.size;
  }

  /**
   * Waits for the requests being answered, but no longer than `grace` milliseconds: the client of one may be gone without
   * a word. The server that calls `handle` must have stopped to do so.
   */
  async stop(grace = 5_000): Promise<void> {
    const waited = new AbortController();
    const late = this.#options.clock.sleep(grace, waited.signal).catch(() => {});
    await Promise.race([Promise.all(this.#running), late]);
    waited.abort();
    this.#proxy.close();
  }

  async #answer(
    incoming: IncomingMessage,
    response: ServerResponse,
    witness: ImageWitness | undefined,
  ): Promise<void> {
    const refuse: Refuse = (status, code, message, headers) => {
      sendOciError(response, status, code, message, headers);
      linger(incoming);
    };
    const { pathname, search } = splitTarget(incoming.url ?? '/');
    const route = parseRegistryRoute(pathname);
    // The catalogue would name repositories of others.
    if (route === undefined || route.kind === 'catalog') {
      refuse(404, 'NOT_FOUND', 'There is nothing at this path of the registry.');
      return;
    }
    const actions = actionsFor(incoming.method ?? '');
    if (actions === undefined) {
      refuse(405, 'UNSUPPORTED', `The registry has no method ${incoming.method}.`, { Allow: allowedMethods });
      return;
    }
    if (this.#options.readOnly === true && actions.some((action) => action !== 'pull')) {
      refuse(
        405,
        'UNSUPPORTED',
        'The registry is read only for now (REGISTRY_STATE: readonly). Push later.',
        {
          Allow: 'GET, HEAD',
        },
      );
      return;
    }
    const wanted = route.kind === 'base' ? undefined : { repository: route.repository, actions };
    const token = await this.#verify(incoming, wanted, refuse);
    if (token === undefined) return;
    if (!(await this.#admit(token.build, isWriteStart(incoming, route)))) {
      refuse(403, 'DENIED', attemptOver(token.build));
      return;
    }
    if (route.kind === 'manifest' && incoming.method === 'PUT') {
      await this.#putManifest(incoming, response, route, token, refuse, witness);
      return;
    }
    const query = route.kind === 'upload' ? withoutForeignMount(search, token) : search;
    await this.#proxy.forward(incoming, response, `${upstreamPath(route)}${query}`);
    const deleted = incoming.method === 'DELETE' && route.kind === 'manifest' && response.statusCode === 202;
    if (deleted && token.build === undefined)
      await witness?.({
        kind: 'delete',
        by: token.subject,
        repository: route.repository,
        reference: route.reference,
      });
  }

  /** The request's token when it allows what is wanted; otherwise the challenge has been sent. */
  async #verify(
    incoming: IncomingMessage,
    wanted: RegistryAccess | undefined,
    refuse: Refuse,
  ): Promise<RegistryToken | undefined> {
    const bearer = /^bearer +(\S+) *$/i.exec(incoming.headers.authorization ?? '')?.[1];
    const token = bearer === undefined ? undefined : await this.#options.tokens.verify(bearer);
    if (token !== undefined && (wanted === undefined || allows(token.access, wanted))) return token;

    const parameters = [
      ['realm', `${this.#options.publicOrigin(incoming)}/v2/auth`],
      ['service', this.#options.tokens.service],
      ...(wanted === undefined ? [] : [['scope', formatScope(wanted)]]),
      ...(bearer === undefined
        ? []
        : [['error', token === undefined ? 'invalid_token' : 'insufficient_scope']]),
    ];
    const challenge = parameters.map(([name, value]) => `${name}="${value}"`).join(',');
    const headers = { 'WWW-Authenticate': `Bearer ${challenge}` };
    if (token === undefined) refuse(401, 'UNAUTHORIZED', 'Log in to use this registry.', headers);
    else refuse(401, 'DENIED', `You may not ${wanted?.actions.at(-1)} ${wanted?.repository}.`, headers);
    return undefined;
  }

  /** Whether the build behind a token may go on; always so for users. */
  async #admit(build: BuildGrant | undefined, askAnew: boolean): Promise<boolean> {
    if (build === undefined) return true;
    const key = `${build.attemptId} ${build.epoch}`;
    const now = this.#options.clock.now();
    if (!askAnew && (this.#current.get(key) ?? 0) > now) return true;
    const current = await this.#options.attempts.isCurrent(build.attemptId, build.epoch);
    this.#current.delete(key);
    if (current) this.#current.set(key, now + gateMemory);
    else this.#options.onStale?.();
    const oldest = this.#current.keys().next().value;
    if (oldest !== undefined && this.#current.size > rememberedAttempts) this.#current.delete(oldest);
    return current;
  }

  async #putManifest(
    incoming: IncomingMessage,
    response: ServerResponse,
    route: ManifestRoute,
    token: RegistryToken,
    refuse: Refuse,
    witness: ImageWitness | undefined,
  ): Promise<void> {
    const { build } = token;
    const tag = parseDigest(route.reference) === undefined ? parseTag(route.reference) : undefined;
    if (build?.worker === 'reference' && tag !== undefined && !build.tags.includes(tag)) {
      refuse(403, 'DENIED', `This build may push ${build.tags.join(', ')}, not ${tag}.`);
      return;
    }
    const body = await readBody(incoming, largestManifest);
    if (body === 'too-large') {
      refuse(413, 'SIZE_INVALID', `A manifest may have ${largestManifest} bytes at most.`);
      return;
    }
    if (body === 'broken-off') return;
    // Reading may have taken a while; what counts is whether the attempt is current when the manifest is stored.
    if (!(await this.#admit(build, true))) {
      refuse(403, 'DENIED', attemptOver(build));
      return;
    }
    const writtenTag: Tag | undefined = build?.worker === 'slipway' ? undefined : tag;
    const digest = digestOf(body);
    const stored = writtenTag ?? (tag === undefined ? route.reference : digest);
    const mediaType = incoming.headers['content-type'] ?? '';
    const answer = await this.#proxy.send({
      method: 'PUT',
      path: upstreamPath({ ...route, reference: stored }),
      headers: { 'content-type': mediaType, authorization: incoming.headers.authorization ?? '' },
      body,
    });
    if (answer.status === 201) {
      await this.#options.onPush({
        repository: route.repository,
        digest,
        mediaType,
        pusher: token.subject,
        ...(writtenTag === undefined ? {} : { tag: writtenTag }),
      });
      if (build === undefined)
        await witness?.({
          kind: 'push',
          by: token.subject,
          repository: route.repository,
          reference: route.reference,
          digest,
        });
    }
    response.writeHead(answer.status, {
      ...clientHeaders(answer.headers),
      'content-length': String(answer.body.length),
    });
    response.end(answer.body);
  }
}

type Refuse = (
  status: number,
  code: Parameters<typeof sendOciError>[2],
  message: string,
  headers?: Readonly<Record<string, string>>,
) => void;

const allowedMethods = 'GET, HEAD, POST, PUT, PATCH, DELETE';

function attemptOver(build: BuildGrant | undefined): string {
  return `Attempt ${build?.attemptId} (epoch ${build?.epoch}) of build ${build?.buildId} is over; it may not use the registry any more.`;
}

/** The requests by which something comes to be: a manifest, or an upload (a mount is one too). */
function isWriteStart(incoming: IncomingMessage, route: RegistryRoute): boolean {
  if (route.kind === 'manifest') return incoming.method !== 'GET' && incoming.method !== 'HEAD';
  return route.kind === 'upload' && incoming.method === 'POST';
}

/**
 * A mount from a repository that the token may not read is passed on as the start of an ordinary upload, which
 * is what the protocol has for a mount that cannot be done.
 */
function withoutForeignMount(search: string, token: RegistryToken): string {
  const query = new URLSearchParams(search);
  const from = query.get('from');
  if (from === null || allows(token.access, { repository: from, actions: ['pull'] })) return search;
  query.delete('from');
  query.delete('mount');
  return query.size === 0 ? '' : `?${query}`;
}

function upstreamPath(route: RegistryRoute): string {
  switch (route.kind) {
    case 'base':
      return '/v2/';
    case 'catalog':
      return '/v2/_catalog';
    case 'tags':
      return `/v2/${route.repository}/tags/list`;
    case 'manifest':
      return `/v2/${route.repository}/manifests/${route.reference}`;
    case 'blob':
      return `/v2/${route.repository}/blobs/${route.digest}`;
    case 'upload':
      return `/v2/${route.repository}/blobs/uploads/${route.id ?? ''}`;
    case 'referrers':
      return `/v2/${route.repository}/referrers/${route.digest}`;
    default:
      return unreachable(route);
  }
}

function splitTarget(target: string): { pathname: string; search: string } {
  const question = target.indexOf('?');
  if (question < 0) return { pathname: target, search: '' };
  return { pathname: target.slice(0, question), search: target.slice(question) };
}
