import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { sendPage } from './page-answer.ts';
import { missingPage } from './pages/missing-page.ts';

const order = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'] as const;

/**
 * 404 for addresses that do not exist; 405 with the methods that do for those that do. A browser that was led there gets a
 * page. Called before any route is added.
 */
export function answerUnknownAddresses(api: Api): void {
  const patterns = new Map<string, { readonly matcher: RegExp; readonly methods: Set<string> }>();
  api.addHook('onRoute', ({ url, method }) => {
    const known = patterns.get(url) ?? { matcher: matcherOf(url), methods: new Set() };
    for (const each of [method].flat()) known.methods.add(each);
    patterns.set(url, known);
  });
  api.setNotFoundHandler(async (request: FastifyRequest, reply: FastifyReply) => {
    const path = request.url.split('?')[0] ?? '';
    const methods = [...patterns.values()].find(({ matcher }) => matcher.test(path))?.methods;
    const allowed = order.filter((each) => methods?.has(each));
    if (allowed.length > 0) reply.header('allow', allowed.join(', '));
    const error =
      methods === undefined
        ? new ApiError('not_found', 'There is nothing at this address. The API is described at /api/v1/docs.')
        : new ApiError(
            'method_not_allowed',
            `${request.method} is not possible here. Possible are: ${allowed.join(', ')}.`,
          );
    if (wantsPage(request)) return await sendPage(reply, missingPage(error.message), error.status);
    throw error;
  });
}

/** Browsers say that they want pages when somebody goes to an address, and never when a script asks. */
function wantsPage({ method, headers: { accept = '' } }: FastifyRequest): boolean {
  return (method === 'GET' || method === 'HEAD') && /(^|[\s,])text\/html\b/i.test(accept);
}

function matcherOf(url: string): RegExp {
  const parts = url.split('/').map((part) => (part.startsWith(':') ? '[^/]+' : part.replaceAll('.', '\\.')));
  return new RegExp(`^${parts.join('/')}/?$`);
}
