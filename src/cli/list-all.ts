import type { Client } from './client.ts';

/** More than this nobody reads in a terminal; the REST interface has them page by page. */
const most = 10_000;

/** All of a list that the server gives page by page. `path` has no query yet. */
export async function listAll<T>(
  client: Client,
  path: string,
  itemsOf: (answer: Record<string, unknown>) => readonly T[],
  query: Readonly<Record<string, string>> = {},
): Promise<readonly T[]> {
  const items: T[] = [];
  for (let next: string | undefined = ''; next !== undefined && items.length < most; ) {
    const parameters = new URLSearchParams(query);
    if (next !== '') parameters.set('next_page', next);
    const text = parameters.size === 0 ? '' : `?${parameters}`;
    const answer: Record<string, unknown> = await client.get<Record<string, unknown>>(`${path}${text}`);
    items.push(...itemsOf(answer));
    next = typeof answer.next_page === 'string' ? answer.next_page : undefined;
  }
  return items;
}
