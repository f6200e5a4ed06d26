import * as oidc from 'openid-client';
import { messageOf } from '../base/coded-error.ts';
import { LoginError } from './login-error.ts';
import { deniedBy, harmless } from './oauth-exchange.ts';
import { badAnswer, refusedByProvider, unreachableProvider } from './provider-fetch.ts';

/** What openid-client throws, as a LoginError. Its causes have tokens in them and go nowhere. */
export function fromOpenIdClient(thrown: unknown): unknown {
  const own = ownError(thrown);
  if (own !== undefined) return own;
  if (thrown instanceof oidc.AuthorizationResponseError) return deniedBy(thrown.error);
  if (thrown instanceof oidc.ResponseBodyError)
    return thrown.status >= 500
      ? unreachableProvider(`HTTP ${thrown.status} ${harmless(thrown.error)}`)
      : refusedByProvider(`HTTP ${thrown.status} ${harmless(thrown.error)}`);
  if (thrown instanceof oidc.WWWAuthenticateChallengeError)
    return refusedByProvider(`HTTP ${thrown.status} with a challenge`);
  if (thrown instanceof oidc.ClientError) return fromClientError(thrown);
  return thrown;
}

function fromClientError(error: oidc.ClientError): LoginError {
  const detail = `${error.code ?? 'no code'}: ${messageOf(error)}`;
  if (error.code === 'OAUTH_RESPONSE_IS_NOT_CONFORM' && error.cause instanceof Response) {
    const { status } = error.cause;
    if (status >= 500 || status === 429) return unreachableProvider(`${detail} (HTTP ${status})`);
  }
  return badAnswer(detail);
}

/** What our own fetch threw comes back wrapped. */
function ownError(thrown: unknown): LoginError | undefined {
  for (let at = thrown, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1)
    if (at instanceof LoginError) return at;
  return undefined;
}
