import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type FakeRepository, GitHostState } from './git-host-state.ts';

export interface FakeRequest {
  readonly method: string;
  /** As it came, with what is encoded in it. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** Whom the token belongs to; routes that need nobody have ''. */
  readonly username: string;
  /** What the route's pattern caught, decoded. */
  readonly parts: readonly string[];
}

export interface FakeAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface FakeFault extends FakeAnswer {
  /** Of `METHOD /path`. */
  readonly at: RegExp;
  /** Default: once. */
  readonly times?: number;
  /** The request is carried out, but not before: whoever waits may have gone by then. */
  readonly until?: Promise<unknown>;
  /**
   * `hang`: no answer at all. `cut`: the connection is closed in the middle of it. `lost`: the request is carried out, and
   * this is answered nevertheless; with status 0 the connection is closed.
   */
  readonly how?: 'hang' | 'cut' | 'lost';
}

export type FakeRoute = readonly [method: string, path: RegExp, handle: (request: FakeRequest) => FakeAnswer];

/** What a hook answered to a delivery. */
export interface DeliveryResult {
  readonly status: number;
  readonly text: string;
}

/** A host's OAuth client. */
export const oauthClient = { id: 'slipway-client', secret: 'client secret/+&=' };

/** The error of a route. */
export class FakeRefusal extends Error {
  readonly answer: FakeAnswer;

  constructor(status: number, body?: unknown) {
    super(`${status}`);
    this.answer = { status, body };
  }
}

interface Grant {
  readonly username: string;
  readonly redirect: string;
  readonly challenge: string | null;
}

/**
 * What the fakes of git hosts share: an HTTP server over a state, faults on demand, pages, OAuth, and deliveries to the
 * hooks that were installed. It refuses what the real ones refuse: no or a bad token, what the account may not see or do.
 */
export abstract class GitHostServer {
  readonly state = new GitHostState();
  /** `METHOD /path?query`, as they came. */
  readonly requests: string[] = [];
  /** Every `Authorization` that came, at whatever path. */
  readonly authorizations: string[] = [];
  /** The longest page that is given, whatever is asked for. */
  largestPage = 100;
  /** Who is signed in at the host's site, and says yes. Undefined: nobody; people say no. */
  signedIn: string | undefined;
  /** Seconds that tokens last; undefined: for ever, and without a refresh token. */
  tokenLifetime: number | undefined;
  /** Whether a refresh token is good once only. */
  rotatesRefreshTokens = true;
  readonly #faults: { fault: FakeFault; left: number }[] = [];
  readonly #codes = new Map<string, Grant>();
  readonly #refreshTokens = new Map<string, string>();
  readonly #server: Server;
  #port = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request).then(
        (answer) => {
          if (answer === 'hang') return;
          if (answer === 'cut') {
            response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
            response.write('{"half":', () => response.destroy());
            return;
          }
          const { body } = answer;
          const bytes = body === undefined ? '' : Buffer.isBuffer(body) ? body : JSON.stringify(body);
          response.writeHead(answer.status, {
            ...(body === undefined || Buffer.isBuffer(body)
              ? {}
              : { 'content-type': 'application/json; charset=utf-8' }),
            ...answer.headers,
          });
          response.end(bytes);
        },
        (thrown: unknown) => {
          response.writeHead(599);
          response.end(String(thrown));
        },
      );
    });
  }

  /** Everything below the host's interface; the first that fits is taken. */
  protected abstract readonly routes: readonly FakeRoute[];
  /** What the interface's paths begin with. */
  protected abstract readonly prefix: string;
  protected abstract readonly oauthPaths: { readonly authorize: string; readonly token: string };
  protected abstract refusal(status: number, message: string): unknown;
  protected abstract signed(hook: { secret: string | undefined }, body: string): Record<string, string>;

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The next requests that fit get this instead of an answer. */
  fail(fault: FakeFault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  /** Ends all faults. */
  forgive(): void {
    this.#faults.length = 0;
  }

  /** Sends a payload to every hook of a repository that wants the event, signed as the host does. */
  async deliver(repository: FakeRepository, event: string, payload: unknown): Promise<DeliveryResult[]> {
    const results: DeliveryResult[] = [];
    const body = JSON.stringify(payload);
    for (const hook of repository.hooks.values()) {
      if (!hook.events.includes(event)) continue;
      const url = new URL(hook.url);
      const basic = Buffer.from(
        `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`,
      ).toString('base64');
      const authorized = url.username === '' ? {} : { authorization: `Basic ${basic}` };
      url.username = '';
      url.password = '';
      const response = await fetch(url.href, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...authorized,
          ...this.eventHeaders(event),
          ...this.signed(hook, body),
        },
        body,
      });
      results.push({ status: response.status, text: await response.text() });
    }
    return results;
  }

  protected abstract eventHeaders(event: string): Record<string, string>;

  async #answer(incoming: IncomingMessage): Promise<FakeAnswer | 'hang' | 'cut'> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const { method = 'GET', url = '/', headers } = incoming;
    const [path = '/', search = ''] = url.split(/\?(.*)/s);
    const line = `${method} ${path}`;
    this.requests.push(`${method} ${url}`);
    if (headers.authorization !== undefined) this.authorizations.push(headers.authorization);
    const broken = this.#faults.find(({ fault, left }) => left > 0 && fault.at.test(line));
    let lost: FakeFault | undefined;
    if (broken !== undefined) {
      broken.left -= 1;
      const { until, how } = broken.fault;
      if (how === 'lost') lost = broken.fault;
      else if (until === undefined) return how ?? broken.fault;
      await until;
    }
    const request = {
      method,
      path,
      query: new URLSearchParams(search),
      headers,
      body: Buffer.concat(chunks),
      username: '',
      parts: [],
    };
    try {
      if (path === this.oauthPaths.authorize) return this.#authorize(request);
      if (path === this.oauthPaths.token && method === 'POST') return this.#grant(request);
      if (!path.startsWith(this.prefix)) return { status: 404, body: this.refusal(404, 'Not Found') };
      const answer = this.#route({ ...request, username: this.#userOf(headers.authorization) });
      if (lost === undefined) return answer;
      return lost.status === 0 ? 'cut' : lost;
    } catch (thrown) {
      if (thrown instanceof FakeRefusal) return thrown.answer;
      throw thrown;
    }
  }

  #userOf(authorization: string | undefined): string {
    const [, access] = /^(?:Bearer|token) (.+)$/i.exec(authorization ?? '') ?? [];
    const token = access === undefined ? undefined : this.state.tokens.get(access);
    if (token === undefined || !token.valid) this.refuse(401, 'Bad credentials');
    return token.username;
  }

  #route(request: FakeRequest): FakeAnswer {
    const path = request.path.slice(this.prefix.length);
    for (const [method, pattern, handle] of this.routes) {
      const match = method === request.method ? pattern.exec(path) : null;
      if (match !== null) return handle({ ...request, parts: match.slice(1).map(decodeURIComponent) });
    }
    return { status: 404, body: this.refusal(404, 'Not Found') };
  }

  protected refuse(status: number, message: string): never {
    throw new FakeRefusal(status, this.refusal(status, message));
  }

  /** What somebody may not see is not there for them. */
  protected visible(request: FakeRequest, name: string): FakeRepository {
    const repository = this.state.repositories.get(name);
    if (repository === undefined) this.refuse(404, 'Not Found');
    if (repository.private && !repository.roles.has(request.username)) this.refuse(404, 'Not Found');
    return repository;
  }

  protected administered(request: FakeRequest, name: string): FakeRepository {
    const repository = this.visible(request, name);
    if (repository.roles.get(request.username) !== 'admin')
      this.refuse(403, 'You must be an administrator of the repository');
    return repository;
  }

  protected seenBy(username: string): readonly FakeRepository[] {
    return [...this.state.repositories.values()].filter((each) => each.roles.has(username));
  }

  /** One page of a list; `next` is its successor's number. */
  protected page<Item>(items: readonly Item[], query: URLSearchParams, sizeName: string) {
    const size = Math.min(Number(query.get(sizeName) ?? 30), this.largestPage);
    const number = Number(query.get('page') ?? 1);
    const from = (number - 1) * size;
    const next = from + size < items.length ? number + 1 : undefined;
    return { items: items.slice(from, from + size), number, size, next };
  }

  protected nextUrl(request: FakeRequest, page: number): string {
    const query = new URLSearchParams(request.query);
    query.set('page', String(page));
    return `${this.url}${request.path}?${query}`;
  }

  #authorize({ query }: FakeRequest): FakeAnswer {
    const redirect = new URL(query.get('redirect_uri') ?? 'http://nowhere.invalid/');
    if (query.get('client_id') !== oauthClient.id) return { status: 404, body: { error: 'invalid_client' } };
    redirect.searchParams.set('state', query.get('state') ?? '');
    if (this.signedIn === undefined) redirect.searchParams.set('error', 'access_denied');
    else {
      const code = randomBytes(10).toString('hex');
      this.#codes.set(code, {
        username: this.signedIn,
        redirect: query.get('redirect_uri') ?? '',
        challenge: query.get('code_challenge'),
      });
      redirect.searchParams.set('code', code);
    }
    return { status: 302, headers: { location: redirect.href } };
  }

  /** How GitHub, with status 200, and the others, with 400, refuse. */
  protected oauthRefusal(error: string): FakeAnswer {
    return { status: error === 'invalid_client' ? 401 : 400, body: { error, error_description: 'Refused.' } };
  }

  #grant(request: FakeRequest): FakeAnswer {
    const form = new URLSearchParams(request.body.toString());
    const [, basic] = /^Basic (.+)$/.exec(request.headers.authorization ?? '') ?? [];
    const [id, secret] =
      basic === undefined
        ? [form.get('client_id'), form.get('client_secret')]
        : Buffer.from(basic, 'base64')
            .toString()
            .split(':')
            .map((part) => decodeURIComponent(part.replaceAll('+', ' ')));
    if (id !== oauthClient.id || secret !== oauthClient.secret) return this.oauthRefusal('invalid_client');
    if (form.get('grant_type') === 'refresh_token') {
      const given = form.get('refresh_token') ?? '';
      const username = this.#refreshTokens.get(given);
      if (username === undefined) return this.oauthRefusal('invalid_grant');
      if (this.rotatesRefreshTokens) this.#refreshTokens.delete(given);
      return this.#token(username);
    }
    const code = form.get('code') ?? '';
    const grant = this.#codes.get(code);
    this.#codes.delete(code);
    if (grant === undefined || grant.redirect !== form.get('redirect_uri'))
      return this.oauthRefusal('invalid_grant');
    const verifier = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    if (grant.challenge !== null && grant.challenge !== verifier) return this.oauthRefusal('invalid_grant');
    return this.#token(grant.username);
  }

  #token(username: string): FakeAnswer {
    const access = `token-${randomBytes(12).toString('hex')}`;
    this.state.tokens.set(access, { username, valid: true });
    const body = { access_token: access, token_type: 'bearer', scope: 'repo' };
    if (this.tokenLifetime === undefined) return { status: 200, body };
    const refresh = `refresh-${randomBytes(12).toString('hex')}`;
    this.#refreshTokens.set(refresh, username);
    return { status: 200, body: { ...body, expires_in: this.tokenLifetime, refresh_token: refresh } };
  }
}
