/** What a DB_URI says. */
export type DatabaseUri =
  | { readonly provider: 'sqlite'; readonly file: string }
  | { readonly provider: 'postgres'; readonly url: URL };

/**
 * `postgresql://`, `postgres://` and with a driver as `postgresql+psycopg2://`; `sqlite:///relative` and
 * `sqlite:////absolute`. Otherwise the reason, as words that follow "DB_URI".
 */
export function parseDatabaseUri(text: string): DatabaseUri | { readonly reason: string } {
  const scheme = /^([a-z0-9]+)(?:\+[a-z0-9_]+)?:/i.exec(text)?.[1]?.toLowerCase();
  switch (scheme) {
    case 'sqlite':
      return parseSqlite(text);
    case 'postgres':
    case 'postgresql':
      return parsePostgres(text);
    case undefined:
      return { reason: 'has no scheme' };
    default:
      return { reason: `names ${scheme}, but Slipway keeps its data in PostgreSQL or SQLite` };
  }
}

function parseSqlite(text: string): DatabaseUri | { readonly reason: string } {
  const file = /^sqlite:\/\/\/([^?#]*)/i.exec(text)?.[1];
  if (file === undefined)
    return { reason: 'has no file: three slashes and a relative path, or four and an absolute one' };
  if (file === '' || file === ':memory:')
    return { reason: 'names no file, and data in memory would be lost' };
  try {
    return { provider: 'sqlite', file: decodeURIComponent(file) };
  } catch {
    return { reason: 'has a % that begins no character; write it as %25' };
  }
}

function parsePostgres(text: string): DatabaseUri | { readonly reason: string } {
  const rest = text.slice(text.indexOf(':'));
  let url: URL;
  try {
    url = new URL(`postgresql${rest}`);
  } catch {
    return { reason: 'is not a URL; encode special characters of the password, such as @ as %40' };
  }
  const database = url.pathname.slice(1);
  if (url.hostname === '' && !url.searchParams.has('host')) return { reason: 'names no host' };
  if (database === '' || database.includes('/')) return { reason: 'names no database' };
  return { provider: 'postgres', url };
}
