import { redactTokensIn } from '../model/redact-tokens.ts';
import type { Api } from './api.ts';

const shown = new Set(['start', 'limit', 'since', 'next_page', 'namespace']);

/** One line a request, when it was answered. No header is ever logged, and of the query only what is known to be harmless. */
export function logRequests(api: Api): void {
  // Whoever asks an administrator about a request can name it.
  api.addHook('onRequest', async (request, reply) => void reply.header('x-request-id', request.id));
  api.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url;
    // Asked every few seconds by machines.
    if (route === '/metrics' || (route?.startsWith('/health/') === true && reply.statusCode === 200)) return;
    request.log.info(
      {
        method: request.method,
        url: redactPath(request.raw.url ?? ''),
        status: reply.statusCode,
        milliseconds: Math.round(reply.elapsedTime),
        address: request.ip,
        ...(request.principal?.kind === 'user' ? { user: request.principal.username } : {}),
      },
      'request',
    );
  });
}

export function redactPath(url: string): string {
  const question = url.indexOf('?');
  const path = withoutSecrets(question < 0 ? url : url.slice(0, question));
  if (question < 0) return path.slice(0, 500);
  const query = [...new URLSearchParams(url.slice(question + 1))].map(
    ([name, value]) =>
      `${encodeURIComponent(name)}=${shown.has(name) ? encodeURIComponent(value) : 'REDACTED'}`,
  );
  return `${path}?${query.join('&')}`.slice(0, 500);
}

/** Somebody may give a token where its id is wanted; the token of a trigger has no beginning to know it by. */
function withoutSecrets(path: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    decoded = path;
  }
  const shown = redactTokensIn(decoded);
  return (shown === decoded ? path : encodeURI(shown)).replace(
    /^(\/webhooks\/push\/trigger\/)(?![0-9a-f-]{36}(?:\/|$))[^/]+/,
    '$1REDACTED',
  );
}
