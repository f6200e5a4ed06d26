import type { Clock } from '../base/clock.ts';
import { readBody } from './manifest-body.ts';
import { errorOfAnswer, type RequestPurpose } from './oci-errors.ts';
import type { OciTransport } from './oci-transport.ts';
import { formatScope, type RegistryAccess } from './registry-access.ts';
import { RegistryError } from './registry-error.ts';

/** How to log in to a registry. `bearer` makes tokens itself, as the registry's own token service can. */
export type OciCredentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly token: (access: readonly RegistryAccess[]) => Promise<string> };

/** A `WWW-Authenticate` header: scheme in lower case, parameter names too. */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** The header's first challenge; undefined when it has none that parses. */
export function parseChallenge(header: string): Challenge | undefined {
  const match = /^\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s+(.*))?$/s.exec(header);
  const scheme = match?.[1]?.toLowerCase();
  if (scheme === undefined) return undefined;
  const parameters: Record<string, string> = {};
  const pairs = (match?.[2] ?? '').matchAll(
    /([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)/g,
  );
  for (const [, name = '', quoted, bare] of pairs) {
    parameters[name.toLowerCase()] ??= quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '';
  }
  return { scheme, parameters };
}

/** A token is not used in its last seconds, so that it does not run out on the way. */
const margin = 10_000;
const shortestLifetime = 60;
const largestTokenAnswer = 1024 * 1024;
const rememberedTokens = 200;

/**
 * Makes the Authorization header of requests to one registry. Nothing is sent until the registry has asked for
 * it; what it asked for and the tokens it led to are remembered.
 */
export class OciAuthorization {
  readonly #transport: OciTransport;
  readonly #credentials: OciCredentials;
  readonly #clock: Clock;
  #challenge: Challenge | undefined;
  readonly #tokens = new Map<string, { value: string; until: number }>();

  constructor(transport: OciTransport, credentials: OciCredentials, clock: Clock) {
    this.#transport = transport;
    this.#credentials = credentials;
    this.#clock = clock;
  }

  /** The header for a request, by what is known so far; undefined: ask without one. */
  async header(
    access: readonly RegistryAccess[],
    purpose: RequestPurpose,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    if (this.#credentials.kind === 'bearer') return `Bearer ${await this.#credentials.token(access)}`;
    const challenge = this.#challenge;
    switch (challenge?.scheme) {
      case undefined:
        return undefined;
      case 'basic':
        return this.#basic();
      case 'bearer':
        return `Bearer ${await this.#token(challenge, access, purpose, signal)}`;
      default:
        throw new RegistryError(
          'unsupported',
          `${this.#transport.name} asks for a login by "${challenge?.scheme}", which Slipway cannot do; only Basic and Bearer.`,
        );
    }
  }

  /** Learns from a 401. Returns whether asking again makes sense. */
  refused(
    header: string | string[] | undefined,
    access: readonly RegistryAccess[],
    used: string | undefined,
  ): boolean {
    if (this.#credentials.kind === 'bearer') return false;
    const challenge = parseChallenge(Array.isArray(header) ? (header[0] ?? '') : (header ?? ''));
    if (challenge === undefined) return false;
    this.#challenge = challenge;
    this.#tokens.delete(cacheKey(access));
    if (used === undefined) return challenge.scheme !== 'basic' || this.#credentials.kind === 'password';
    // A token may have been revoked; a fresh one is worth one more try, the same password is not.
    return challenge.scheme === 'bearer';
  }

  #basic(): string | undefined {
    if (this.#credentials.kind !== 'password') return undefined;
    const { username, password } = this.#credentials;
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  async #token(
    { parameters }: Challenge,
    access: readonly RegistryAccess[],
    purpose: RequestPurpose,
    signal: AbortSignal,
  ): Promise<string> {
    const key = cacheKey(access);
    const cached = this.#tokens.get(key);
    if (cached !== undefined && cached.until > this.#clock.now()) return cached.value;
    const { token, expiresIn } = await this.#fetchToken(parameters, access, purpose, signal);
    this.#tokens.delete(key);
    this.#tokens.set(key, { value: token, until: this.#clock.now() + expiresIn * 1000 - margin });
    const oldest = this.#tokens.keys().next().value;
    if (oldest !== undefined && this.#tokens.size > rememberedTokens) this.#tokens.delete(oldest);
    return token;
  }

  async #fetchToken(
    parameters: Challenge['parameters'],
    access: readonly RegistryAccess[],
    purpose: RequestPurpose,
    signal: AbortSignal,
  ): Promise<{ token: string; expiresIn: number }> {
    const name = this.#transport.name;
    const url = URL.parse(parameters.realm ?? '');
    if (url === null || !this.#transport.trusts(url)) {
      throw new RegistryError(
        'invalid',
        `${name} names no usable token service (${parameters.realm ?? 'none'}).`,
      );
    }
    if (parameters.service !== undefined) url.searchParams.set('service', parameters.service);
    const scopes = access.length > 0 ? access.map(formatScope) : (parameters.scope?.split(' ') ?? []);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    const basic = this.#basic();
    if (this.#credentials.kind === 'password') url.searchParams.set('account', this.#credentials.username);
    const answer = await this.#transport.sendTo(url, basic, signal);
    const body = await readBody(answer.body, largestTokenAnswer);
    if (!Buffer.isBuffer(body))
      throw new RegistryError('invalid', `The token service of ${name} sent too much or broke off.`);
    const about = { ...purpose, what: `a token for ${purpose.what}` };
    if (answer.status !== 200) throw errorOfAnswer(answer.status, body.toString('utf8'), about);
    return parseTokenAnswer(body.toString('utf8'), name);
  }
}

function parseTokenAnswer(text: string, name: string): { token: string; expiresIn: number } {
  let answer: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null;
  try {
    answer = JSON.parse(text);
  } catch (error) {
    throw new RegistryError('invalid', `The token service of ${name} did not answer with JSON.`, error);
  }
  const token = answer?.token ?? answer?.access_token;
  if (typeof token !== 'string' || token === '') {
    throw new RegistryError('invalid', `The token service of ${name} answered without a token.`);
  }
  const said = answer?.expires_in;
  return { token, expiresIn: typeof said === 'number' && said > 0 ? said : shortestLifetime };
}

function cacheKey(access: readonly RegistryAccess[]): string {
  return access.map(formatScope).sort().join(' ');
}
