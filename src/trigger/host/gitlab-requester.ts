import { createRequesterFn } from '@gitbeaker/requester-utils';
import { GitlabRefusal } from './gitlab-error.ts';

/**
 * Gitbeaker's way to send a request, over our own `fetch`: without its retries, which wait for up to ten rounds whatever
 * the host says and whoever has given up, and without its limits of a process that it does not share with others. After
 * `mostRequests` a list has no next page: gitbeaker counts what is on pages, which a host may leave empty.
 */
export function gitlabRequester(
  send: typeof fetch,
  mostRequests: number,
): ReturnType<typeof createRequesterFn> {
  let requests = 0;
  return createRequesterFn(
    (_, request) => Promise.resolve(request),
    async (endpoint, options = {}) => {
      const { prefixUrl, searchParams, method, headers, body } = options as {
        readonly prefixUrl: string;
        readonly searchParams?: string;
        readonly method: string;
        readonly headers: Record<string, string>;
        readonly body?: string;
      };
      const url = new URL(endpoint, `${prefixUrl.replace(/\/+$/, '')}/`);
      url.search = searchParams ?? '';
      const response = await send(url, { method, headers, ...(body === undefined ? {} : { body }) });
      const isJson = /^application\/json\b/.test(response.headers.get('content-type') ?? '');
      const text = await response.text();
      const data: unknown = isJson && text !== '' ? JSON.parse(text) : null;
      if (!response.ok) throw new GitlabRefusal(response.status, response.headers, data);
      requests += 1;
      const { link = '', ...others } = Object.fromEntries(response.headers);
      return {
        status: response.status,
        headers: requests < mostRequests ? { ...others, link } : others,
        body: data as Record<string, unknown>,
      };
    },
  );
}
