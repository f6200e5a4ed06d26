import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { parseExpiry } from './expiry.ts';
import { formatWhen } from './format.ts';
import { harmless } from './harmless-text.ts';
import { printTable } from './print-table.ts';
import { printLine, type Terminal } from './terminal.ts';

interface TokenView {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly created: string;
  readonly expires: string | null;
  readonly last_used: string | null;
  readonly token?: string;
}

export interface TokenCreateFlags extends ServerFlags {
  readonly scope?: readonly string[];
  readonly expires?: string;
}

/** What was made with a token that was revoked. */
interface StillValid {
  readonly robots: readonly string[];
  readonly tokens: readonly { readonly id: string; readonly name: string }[];
}

const path = '/api/v1/user/tokens';
/** Of a part of an id. */
const shortestId = 4;
const mostNamed = 20;

export async function tokenCreate(
  terminal: Terminal,
  name: string,
  { scope = ['repo:read', 'repo:write'], expires, ...flags }: TokenCreateFlags,
  now: number,
): Promise<ExitStatus> {
  const fields = {
    name,
    scopes: scope,
    ...(expires === undefined ? {} : { expires: parseExpiry(expires, now) }),
  };
  const { client } = await connect(terminal, flags);
  const made = await client.post<TokenView>(path, fields);
  if (flags.json) printLine(terminal.stdout, JSON.stringify(made));
  else {
    printLine(terminal.stderr, `The token ${name} (${made.id}), shown only now:`);
    printLine(terminal.stdout, made.token ?? '');
  }
  return exitStatus.ok;
}

export async function tokenList(terminal: Terminal, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const { tokens } = await client.get<{ tokens: readonly TokenView[] }>(path);
  printTable(terminal, tokens, {
    json: flags.json === true,
    empty: 'You have no tokens.',
    head: ['ID', 'NAME', 'SCOPES', 'LAST USED', 'EXPIRES'],
    row: (token) => [
      token.id,
      token.name,
      token.scopes.join(','),
      token.last_used === null ? 'never' : formatWhen(token.last_used),
      token.expires === null ? 'never' : formatWhen(token.expires),
    ],
  });
  return exitStatus.ok;
}

/** Revokes the token of this id, name or beginning of an id, and says what was made with it and goes on. */
export async function tokenRevoke(terminal: Terminal, text: string, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const { tokens } = await client.get<{ tokens: readonly TokenView[] }>(path);
  const { id, name } = findToken(tokens, text);
  const answer = await client.remove<{ still_valid: StillValid }>(`${path}/${encodeURIComponent(id)}`);
  const left = answer?.still_valid ?? { robots: [], tokens: [] };
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify({ revoked: id, still_valid: left }));
    return exitStatus.ok;
  }
  printLine(terminal.stdout, `Revoked ${harmless(name, false)} (${id})`);
  if (left.robots.length + left.tokens.length > 0)
    printLine(terminal.stderr, 'It made these, which still are good. To end them:');
  for (const robot of left.robots)
    printLine(terminal.stderr, `  slipway robot regenerate ${robot}    or: slipway robot delete ${robot}`);
  for (const token of left.tokens)
    printLine(terminal.stderr, `  slipway token revoke ${token.id}    ${harmless(token.name, false)}`);
  return exitStatus.ok;
}

/** Throws `usage` with those it may be. */
function findToken(tokens: readonly TokenView[], text: string): TokenView {
  const exact = tokens.find(({ id }) => id === text);
  if (exact !== undefined) return exact;
  const found = tokens.filter(
    ({ id, name }) => name === text || (text.length >= shortestId && id.startsWith(text.toLowerCase())),
  );
  const [one] = found;
  if (one !== undefined && found.length === 1) return one;
  const list = (found.length > 0 ? found : tokens)
    .slice(0, mostNamed)
    .map(({ id, name }) => `\n  ${id}  ${harmless(name, false)}`);
  throw new CliError(
    'usage',
    found.length > 0
      ? `"${text}" may be any of these tokens. Give more of the id:${list.join('')}`
      : `You have no token of the name or id "${text}"${list.length === 0 ? ', and no other' : `. You have:${list.join('')}`}`,
  );
}
