import type { FastifyRequest } from 'fastify';
import { isCsrfToken } from '../account/session-secret.ts';
import { ApiError } from './api-error.ts';
import type { ApiOptions } from './dependencies.ts';

const safe = new Set(['GET', 'HEAD', 'OPTIONS']);

export function changesSomething({ method }: Pick<FastifyRequest, 'method'>): boolean {
  return !safe.has(method);
}

function foreignPage(): ApiError {
  return new ApiError(
    'csrf',
    'The request comes from a page of another site, so nothing was done. Open this site itself and try there.',
  );
}

/**
 * Refuses what a browser says a page of another site has sent. Browsers say it (Sec-Fetch-Site) where they talk to https
 * or to their own machine; elsewhere the page's origin has to do. Programs say neither.
 */
export function requireSameSite(
  request: FastifyRequest,
  { publicOrigin }: Pick<ApiOptions, 'publicOrigin'>,
): void {
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined) {
    if (site !== 'same-origin' && site !== 'none') throw foreignPage();
    return;
  }
  const { origin } = request.headers;
  if (origin !== undefined && origin !== publicOrigin(request.raw)) throw foreignPage();
}

/** A cookie alone proves nothing about who made the browser send it. */
export function requireCsrfToken(given: unknown, secret: string, purpose: 'session' | 'form'): void {
  if (!isCsrfToken(given, secret, purpose))
    throw new ApiError(
      'csrf',
      purpose === 'form'
        ? 'The form is too old, or this browser keeps no cookies. Load the page again.'
        : 'The header X-CSRF-Token is missing or belongs to another session. GET /api/v1/user/csrf says the right one.',
    );
}
