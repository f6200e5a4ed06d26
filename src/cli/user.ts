import { unreachable } from '../base/unreachable.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatWhen } from './format.ts';
import { listAll } from './list-all.ts';
import { printTable } from './print-table.ts';
import { prompt } from './prompt.ts';
import { firstLineOf, printLine, type Terminal } from './terminal.ts';

interface UserView {
  readonly username: string;
  readonly email: string | null;
  readonly super_user: boolean;
  readonly enabled: boolean;
  readonly created: string;
}

export interface UserCreateFlags extends ServerFlags {
  readonly email?: string;
  readonly passwordStdin?: boolean;
}

export interface UserPasswordFlags extends ServerFlags {
  readonly passwordStdin?: boolean;
  readonly revokeTokens?: boolean;
}

const path = '/api/v1/superuser/users';
const pathOf = (username: string) => `${path}/${encodeURIComponent(username)}`;

export async function userCreate(
  terminal: Terminal,
  username: string,
  { email, passwordStdin, ...flags }: UserCreateFlags,
): Promise<ExitStatus> {
  const password = passwordStdin ? await firstLineOf(terminal.stdin) : undefined;
  const { client } = await connect(terminal, flags);
  const made = await client.post<{ username: string; password: string }>(path, {
    username,
    ...(email === undefined ? {} : { email }),
    ...(password === undefined ? {} : { password }),
  });
  if (flags.json) printLine(terminal.stdout, JSON.stringify(made));
  else {
    printLine(terminal.stdout, `Made the user ${made.username}`);
    if (password === undefined) printLine(terminal.stdout, `password  ${made.password}`);
  }
  return exitStatus.ok;
}

export async function userList(terminal: Terminal, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const users = await listAll(client, path, (answer) => answer.users as UserView[]);
  printTable(terminal, users, {
    json: flags.json === true,
    empty: 'There are no users.',
    head: ['NAME', 'STATE', 'CREATED', 'EMAIL'],
    row: (user) => [
      user.username,
      [user.enabled ? 'enabled' : 'disabled', ...(user.super_user ? ['superuser'] : [])].join(', '),
      formatWhen(user.created),
      user.email ?? '',
    ],
  });
  return exitStatus.ok;
}

export async function userEnable(
  terminal: Terminal,
  username: string,
  enabled: boolean,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const user = await client.put<UserView>(pathOf(username), { enabled });
  printLine(
    terminal.stdout,
    flags.json ? JSON.stringify(user) : `${enabled ? 'Enabled' : 'Disabled'} ${username}`,
  );
  return exitStatus.ok;
}

export async function userDelete(
  terminal: Terminal,
  username: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  await client.delete(pathOf(username));
  printLine(terminal.stdout, flags.json ? JSON.stringify({ deleted: username }) : `Deleted ${username}`);
  return exitStatus.ok;
}

/** One's own password, which takes the old one; with a name that of somebody else, which takes a superuser. */
export async function userPassword(
  terminal: Terminal,
  username: string | undefined,
  { passwordStdin = false, revokeTokens = false, ...flags }: UserPasswordFlags,
): Promise<ExitStatus> {
  const questions = username === undefined ? ['Current password: ', 'New password: '] : ['New password: '];
  const answers = passwordStdin
    ? await linesOf(terminal, questions.length)
    : await askAll(terminal, questions);
  if (answers === undefined) return exitStatus.interrupted;
  const password = answers.at(-1) ?? '';
  const { client } = await connect(terminal, flags);
  const rest = { password, revoke_tokens: revokeTokens };
  const changed =
    username === undefined
      ? await client.put<{ username: string }>('/api/v1/user', {
          current_password: answers[0] ?? '',
          ...rest,
        })
      : await client.put<{ username: string }>(pathOf(username), rest);
  printLine(
    terminal.stdout,
    flags.json ? JSON.stringify(changed) : `Changed the password of ${changed.username}`,
  );
  return exitStatus.ok;
}

async function linesOf(terminal: Terminal, count: number): Promise<readonly string[]> {
  const parts: Uint8Array[] = [];
  for await (const chunk of terminal.stdin) parts.push(Buffer.from(chunk));
  const lines = Buffer.concat(parts).toString('utf8').split(/\r?\n/);
  if (lines.length < count)
    throw new CliError('usage', 'Give two lines on standard input: the current password, and the new one');
  return lines.slice(0, count);
}

/** Undefined when Ctrl-C was pressed. */
async function askAll(
  terminal: Terminal,
  questions: readonly string[],
): Promise<readonly string[] | undefined> {
  if (terminal.stdin.isTTY !== true)
    throw new CliError('usage', 'There is no terminal to ask on. Give --password-stdin');
  const answers: string[] = [];
  for (const question of questions) {
    const answer = await prompt(terminal, question, { hidden: true });
    switch (answer.kind) {
      case 'answer':
        answers.push(answer.text);
        break;
      case 'interrupted':
        return undefined;
      case 'closed':
        throw new CliError('usage', 'The input ended before the answer. Nothing was changed');
      default:
        return unreachable(answer);
    }
  }
  return answers;
}
