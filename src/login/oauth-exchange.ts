import { createHash } from 'node:crypto';
import { LoginError } from './login-error.ts';
import type { LoginAttempt } from './login-provider.ts';
import { badAnswer, jsonOf, type ProviderFetch, refusedByProvider } from './provider-fetch.ts';

/** OAuth 2 with PKCE for services that are not OpenID providers (RFC 6749, RFC 7636). */
export interface OAuthService {
  readonly authorizeUrl: string;
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: { reveal(): string };
  readonly scopes: readonly string[];
}

export function authorizeUrl(service: OAuthService, { redirectUri, state, verifier }: LoginAttempt): URL {
  const url = new URL(service.authorizeUrl);
  for (const [name, value] of Object.entries({
    client_id: service.clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: service.scopes.join(' '),
    state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }))
    url.searchParams.set(name, value);
  return url;
}

export function deniedBy(error: string): LoginError {
  return error === 'access_denied'
    ? new LoginError('denied', 'You did not allow the login service to sign you in here.', error)
    : refusedByProvider(`the authorization failed: ${harmless(error)}`);
}

/** Redeems the code of an answer. Says the access token. */
export async function redeem(
  service: OAuthService,
  { redirectUri, verifier }: LoginAttempt,
  answer: URLSearchParams,
  fetch: ProviderFetch,
  signal: AbortSignal,
): Promise<string> {
  const error = answer.get('error');
  if (error !== null) throw deniedBy(error);
  const [code, more] = answer.getAll('code');
  if (code === undefined || code === '' || more !== undefined) throw badAnswer('the callback has no code');
  const response = await fetch(service.tokenUrl, {
    method: 'POST',
    headers: { accept: 'application/json' },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      client_id: service.clientId,
      client_secret: service.clientSecret.reveal(),
      code,
      redirect_uri: redirectUri,
      code_verifier: verifier,
    }),
    signal,
  });
  const said = await jsonOf(response, 'the token');
  // GitHub says what is wrong with status 200.
  const refused = field(said, 'error');
  if (refused !== undefined) throw refusedByProvider(`the token: ${harmless(refused)}`);
  const token = field(said, 'access_token');
  if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) throw badAnswer('the token: there is none');
  return token;
}

/** A field of an answer that is a text. */
export function field(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  const found: unknown = (value as Record<string, unknown>)[name];
  return typeof found === 'string' && found !== '' ? found : undefined;
}

/** A number that is somebody's id, as text. */
export function idField(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  const found: unknown = (value as Record<string, unknown>)[name];
  return typeof found === 'number' && Number.isSafeInteger(found) && found > 0 ? String(found) : undefined;
}

/** A code of an error, for a log: codes are words, and anything else is not repeated. */
export function harmless(code: string): string {
  return /^[\w.-]{1,64}$/.test(code) ? code : 'an error of no known form';
}
