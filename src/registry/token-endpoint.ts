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
  /** Told who was recognised, and of everything that was not given. Called before the answer is. */
  readonly witness?: TokenWitness;
}

/** Something that was asked for and not given. */
export interface TokenRefusal {
  /** Who asked; the name of a worker is its attempt, where its credentials are good enough to know it. */
  readonly by: { readonly kind: 'nobody' } | { readonly kind: 'user' | 'worker'; readonly name: string };
  readonly reason: 'wrong-credentials' | 'locked' | 'attempt-over' | 'not-allowed';
  readonly repository?: string;
  readonly actions?: readonly RegistryAction[];
}

export interface TokenWitness {
  /** Somebody signed in with credentials of their own. */
  signedIn(username: string): void;
  refused(refusal: TokenRefusal): void;
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
 * - `locked`: too many credentials were wrong before, so these were not looked at; HTTP 429
 * - `busy`: too many are looked at already; HTTP 503
 */
export class TokenRequestError extends CodedError<'unauthorized' | 'invalid' | 'locked' | 'busy'> {
  /** Milliseconds until the request may be repeated; of `locked` and `busy`. */
  readonly retryAfter: number | undefined;

  constructor(code: TokenRequestError['code'], message: string, retryAfter?: number) {
    super(code, message);
    this.retryAfter = retryAfter;
  }
}

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
      ? await this.#answerBuild(credentials.password, wanted, request.witness)
      : await this.#answerUser(credentials, wanted, request.witness);
  }

  async #answerUser(
    credentials: RegistryCredentials | undefined,
    wanted: readonly RegistryAccess[],
    witness: TokenWitness | undefined,
  ): Promise<TokenAnswer> {
    const found = credentials === undefined ? undefined : await this.#authorizer.authenticate(credentials);
    if (found !== undefined && 'tryLater' in found) {
      const isLocked = found.tryLater === 'locked';
      if (isLocked && credentials !== undefined)
        witness?.refused({ by: { kind: 'user', name: credentials.username }, reason: 'locked' });
      throw new TokenRequestError(
        found.tryLater,
        isLocked
          ? 'Too many failed sign-ins. Wait before the next one.'
          : 'Too many people sign in at this moment. Try again in a few seconds.',
        found.retryAfter,
      );
    }
    const subject = found;
    if (credentials !== undefined && subject === undefined) {
      witness?.refused({ by: { kind: 'user', name: credentials.username }, reason: 'wrong-credentials' });
      throw new TokenRequestError('unauthorized', 'The user name or password is wrong.');
    }
    if (subject !== undefined) witness?.signedIn(subject.name);
    const by = subject === undefined ? nobody : ({ kind: 'user', name: subject.name } as const);
    const access: RegistryAccess[] = [];
    for (const { repository, actions } of wanted) {
      const allowed = await this.#authorizer.authorize(subject, repository, actions);
      const granted = actions.filter((action) => allowed.includes(action));
      tellWithheld(witness, by, repository, actions, granted);
      if (granted.length > 0) access.push({ repository, actions: granted });
    }
    return await this.#sign({ subject: subject?.name ?? '', access, expiresIn: tokenLifetime });
  }

  async #answerBuild(
    password: string,
    wanted: readonly RegistryAccess[],
    witness: TokenWitness | undefined,
  ): Promise<TokenAnswer> {
    const credential = await this.#buildCredentials.verify(password);
    if (credential === undefined) {
      witness?.refused({ by: { kind: 'worker', name: 'unknown' }, reason: 'wrong-credentials' });
      throw new TokenRequestError('unauthorized', 'The build token is not valid, or not any more.');
    }
    const { grant, repository, actions } = credential;
    const by = { kind: 'worker', name: grant.attemptId } as const;
    const now = await this.#attempts.timeOf(grant.attemptId, grant.epoch);
    if (now === undefined) {
      witness?.refused({ by, reason: 'attempt-over', repository });
      throw new TokenRequestError(
        'unauthorized',
        `Attempt ${grant.attemptId} of build ${grant.buildId} is over.`,
      );
    }
    if (credential.expiresAt <= now) {
      witness?.refused({ by, reason: 'wrong-credentials', repository });
      throw new TokenRequestError('unauthorized', 'The build token is not valid any more.');
    }
    const access: RegistryAccess[] = [];
    for (const entry of wanted) {
      const isOwn = entry.repository === repository && actions.length > 0;
      const granted = isOwn ? actions : await this.#readable(entry.repository, grant.asker);
      const both = entry.actions.filter((action) => granted.includes(action));
      tellWithheld(witness, by, entry.repository, entry.actions, both);
      if (both.length > 0) access.push({ repository: entry.repository, actions: both });
    }
    const left = Math.floor((credential.expiresAt - now) / 1000);
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

const nobody = { kind: 'nobody' } as const;

function tellWithheld(
  witness: TokenWitness | undefined,
  by: TokenRefusal['by'],
  repository: string,
  wanted: readonly RegistryAction[],
  granted: readonly RegistryAction[],
): void {
  const actions = wanted.filter((action) => !granted.includes(action));
  if (actions.length > 0) witness?.refused({ by, reason: 'not-allowed', repository, actions });
}

/** The credentials of an `Authorization: Basic` header; undefined for any other header. */
export function parseBasic(header: string | undefined): RegistryCredentials | undefined {
  const encoded = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
