import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { parseExpiry } from './expiry.ts';
import { formatWhen } from './format.ts';
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

const path = '/api/v1/user/tokens';

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

export async function tokenRevoke(terminal: Terminal, id: string, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  await client.delete(`${path}/${encodeURIComponent(id)}`);
  printLine(terminal.stdout, flags.json ? JSON.stringify({ revoked: id }) : `Revoked ${id}`);
  return exitStatus.ok;
}
