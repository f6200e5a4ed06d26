import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/coded-error.ts';
import type { AttemptGate, Authorizer, RegistryCredentials } from './authorizer.ts';
import { type BuildCredentials, buildUsername } from './build-credential.ts';
import { parseScopes, type RegistryAccess, type RegistryAction } from './registry-access.ts';
import type { TokenService } from './token-service.ts';

/** What a registry client asks of `GET /v2/auth`. */
export interface TokenRequest {
  /** The `service` parameter. */
  readonly service: string | undefined;
  /** Every `scope` parameter as it stands in the query. */
  readonly scopes: readonly string[];
  /** From `Authorization: Basic`; undefined when there is none. */
  readonly credentials: RegistryCredentials | undefined;
}

/** The answer's JSON. `token` and `access_token` are the same; clients read one or the other. */
export interface TokenAnswer {
  readonly token: string;
  readonly access_token: string;
  /** Seconds. */
  readonly expires_in: number;
  /** RFC 3339. */
  readonly issued_at: string;
}

/**
 * - `unauthorized`: the credentials are wrong; HTTP 401 with `WWW-Authenticate: Basic`
 * - `invalid`: the request is for another service; HTTP 400
 */
export class TokenRequestError extends CodedError<'unauthorized' | 'invalid'> {}

const tokenLifetime = 300;
/** Clients assume that a token lives at least this long, whatever it says. */
const shortestLifetime = 60;

/**
 * The token service of the docker/distribution protocol without its HTTP: turns credentials and wished-for
 * scopes into a token for what is allowed of them. Less than asked for is no error; the registry then refuses.
 */
export class TokenEndpoint {
  readonly #tokens: TokenService;
  readonly #buildCredentials: BuildCredentials;
  readonly #authorizer: Authorizer;
  readonly #attempts: AttemptGate;
  readonly #clock: Clock;

  constructor({
    tokens,
    buildCredentials,
    authorizer,
    attempts,
    clock,
  }: {
    tokens: TokenService;
    buildCredentials: BuildCredentials;
    authorizer: Authorizer;
    attempts: AttemptGate;
    clock: Clock;
  }) {
    this.#tokens = tokens;
    this.#buildCredentials = buildCredentials;
    this.#authorizer = authorizer;
    this.#attempts = attempts;
    this.#clock = clock;
  }

  async answer(request: TokenRequest): Promise<TokenAnswer> {
    if (request.service !== undefined && request.service !== this.#tokens.service) {
      throw new TokenRequestError(
        'invalid',
        `This token service is for "${this.#tokens.service}", not for "${request.service}".`,
      );
    }
    const wanted = parseScopes(request.scopes);
    const { credentials } = request;
    return credentials?.username === buildUsername
      ? await this.#answerBuild(credentials.password, wanted)
      : await this.#answerUser(credentials, wanted);
  }

  async #answerUser(
    credentials: RegistryCredentials | undefined,
    wanted: readonly RegistryAccess[],
  ): Promise<TokenAnswer> {
    const subject = credentials === undefined ? undefined : await this.#authorizer.authenticate(credentials);
    if (credentials !== undefined && subject === undefined) {
      throw new TokenRequestError('unauthorized', 'The user name or password is wrong.');
    }
    const access: RegistryAccess[] = [];
    for (const { repository, actions } of wanted) {
      const allowed = await this.#authorizer.authorize(subject, repository, actions);
      const granted = actions.filter((action) => allowed.includes(action));
      if (granted.length > 0) access.push({ repository, actions: granted });
    }
    return await this.#sign({ subject: subject?.name ?? '', access, expiresIn: tokenLifetime });
  }

  async #answerBuild(password: string, wanted: readonly RegistryAccess[]): Promise<TokenAnswer> {
    const credential = await this.#buildCredentials.verify(password);
    if (credential === undefined) {
      throw new TokenRequestError('unauthorized', 'The build token is not valid, or not any more.');
    }
    const { grant, repository, actions } = credential;
    if (!(await this.#attempts.isCurrent(grant.attemptId, grant.epoch))) {
      throw new TokenRequestError(
        'unauthorized',
        `Attempt ${grant.attemptId} of build ${grant.buildId} is over.`,
      );
    }
    const access: RegistryAccess[] = [];
    for (const entry of wanted) {
      const granted =
        entry.repository === repository ? actions : await this.#readable(entry.repository, grant.asker);
      const both = entry.actions.filter((action) => granted.includes(action));
      if (both.length > 0) access.push({ repository: entry.repository, actions: both });
    }
    const left = Math.floor((credential.expiresAt - this.#clock.now()) / 1000);
    return await this.#sign({
      subject: `build ${grant.buildId}`,
      access,
      build: grant,
      expiresIn: Math.max(shortestLifetime, Math.min(tokenLifetime, left)),
    });
  }

  /** Elsewhere than in its own repository a build never writes: it pulls what whoever asked for it may pull. */
  async #readable(repository: string, asker: string | undefined): Promise<readonly RegistryAction[]> {
    const subject = asker === undefined ? undefined : await this.#authorizer.readerNamed(asker);
    const allowed = await this.#authorizer.authorize(subject, repository, ['pull']);
    return allowed.includes('pull') ? ['pull'] : [];
  }

  async #sign(token: Parameters<TokenService['issue']>[0]): Promise<TokenAnswer> {
    const signed = await this.#tokens.issue(token);
    return {
      token: signed,
      access_token: signed,
      expires_in: token.expiresIn,
      issued_at: new Date(this.#clock.now()).toISOString(),
    };
  }
}

/** The credentials of an `Authorization: Basic` header; undefined for any other header. */
export function parseBasic(header: string | undefined): RegistryCredentials | undefined {
  const encoded = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
