/**
 * URLs as they may appear in logs, errors and answers. Redaction is by allow-list: scheme, host, port and path
 * are kept; user name, password, every query value and the fragment are not. So a parameter that nobody has
 * thought of yet is hidden too. Query names stay, because they say which kind of URL it is.
 */
const hidden = 'REDACTED';

export function redactUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return redactScp(text) ?? '<not a URL>';
  }
  if (url.host === '' && url.protocol !== 'file:') return `${url.protocol}${hidden}`;
  const names = [...new Set(url.searchParams.keys())].map((name) => `${encodeURIComponent(name)}=${hidden}`);
  const query = names.length === 0 ? '' : `?${names.join('&')}`;
  return `${url.protocol}//${url.host}${url.pathname}${query}`;
}

/** git's `user@host:path`; the user name is kept, as it is `git` nearly always and no secret, a password is not. */
function redactScp(text: string): string | undefined {
  const match = /^(?:([^\s@:/]+)(?::[^\s@/]*)?@)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([^\s?#]*)$/.exec(text);
  if (match === null) return undefined;
  const [, user, host, path] = match;
  return `${user === undefined ? '' : `${user}@`}${host}:${path}`;
}

/** Redacts every `scheme://…` inside a text of any kind, such as another program's output. */
export function redactUrlsIn(text: string): string {
  return text.replace(/\b[a-z][a-z0-9+.-]{0,30}:\/\/[^\s'"<>`]+/gi, (match) => {
    const trail = /[.,;:!?)\]]*$/.exec(match)?.[0] ?? '';
    const bare = match.slice(0, match.length - trail.length);
    const redacted = redactUrl(bare);
    return `${redacted === '<not a URL>' ? `${bare.slice(0, bare.indexOf(':'))}://${hidden}` : redacted}${trail}`;
  });
}
