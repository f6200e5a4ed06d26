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
  // Of `file:` what looks like a user name is part of the host.
  const host = url.host.includes('@') ? hidden : url.host;
  return `${url.protocol}//${host}${url.pathname}${query}`;
}

/** The same of a git URL, whose user name for ssh is no secret, and which nobody could use without. */
export function redactGitUrl(text: string): string {
  return /^ssh:\/\/[^\s:@/]+@[^\s@?#]+$/i.test(text) ? text : redactUrl(text);
}

/**
 * git's `user@host:path`; the user name is kept, as it is `git` nearly always and no secret, a password is not. A URL that
 * cannot be read (`https://user:password@host:99999/`) is none of these, though `https` could be a host.
 */
function redactScp(text: string): string | undefined {
  const match =
    /^(?:([^\s@:/]+)(?::[^\s@/]*)?@)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):(?!\/\/)([^\s?#@]*)$/.exec(text);
  if (match === null) return undefined;
  const [, user, host, path] = match;
  return `${user === undefined ? '' : `${user}@`}${host}:${path}`;
}

/** Redacts every `scheme://…` and `user:password@` inside a text of any kind, such as another program's output. */
export function redactUrlsIn(text: string): string {
  const redacted = text.replace(/\b[a-z][a-z0-9+.-]{0,30}:\/\/[^\s'"<>`]+/gi, (match) => {
    const trail = /[.,;:!?)\]]*$/.exec(match)?.[0] ?? '';
    const bare = match.slice(0, match.length - trail.length);
    const shown = redactUrl(bare);
    return `${shown === '<not a URL>' ? `${bare.slice(0, bare.indexOf(':'))}://${hidden}` : shown}${trail}`;
  });
  return redacted.replace(/([^\s:@/'"]{1,256}):[^\s@/'"]{1,1024}@(?=[A-Za-z0-9[])/g, `$1:${hidden}@`);
}
