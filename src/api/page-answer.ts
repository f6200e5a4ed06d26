import type { FastifyReply, FastifyRequest } from 'fastify';
import { translate } from './error-handler.ts';

/** A page is told from which of our pages a browser comes, so that its forms have an origin. */
export async function sendPage(reply: FastifyReply, text: string, status = 200): Promise<FastifyReply> {
  return await reply
    .status(status)
    .type('text/html; charset=utf-8')
    .header('referrer-policy', 'same-origin')
    .send(text);
}

/** What went wrong, for a page. */
export function shown(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): { readonly message: string; readonly status: number } {
  const { code, message, status, retryAfter } = translate(thrown);
  request.auditAnswer = { error_type: code };
  if (status >= 500) request.log.error({ err: thrown }, 'request failed');
  if (retryAfter !== undefined) reply.header('retry-after', String(Math.ceil(retryAfter)));
  return { message, status };
}
