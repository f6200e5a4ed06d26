/** A registry that has more pages than this is taken to go on for ever. */
export const mostPages = 1_000;

/** The path of a `Link: <…>; rel="next"` on the same server. */
export function nextPage(link: string | string[] | undefined, current: URL): string | undefined {
  const target = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(
    Array.isArray(link) ? link.join(',') : (link ?? ''),
  )?.[1];
  const url = target === undefined ? null : URL.parse(target, current.href);
  return url === null ? undefined : `${url.pathname}${url.search}`;
}
