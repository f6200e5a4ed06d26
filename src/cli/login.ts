import { hostname } from 'node:os';
import { ask, readLine } from './ask.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { Client } from './client.ts';
import { normalizeServer, readProfile, writeLogin } from './profile.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface LoginFlags {
  readonly server?: string;
  readonly username?: string;
  readonly passwordStdin?: boolean;
  readonly superuser?: boolean;
}

/** Exchanges a name and password for a personal token and keeps that, never the password. */
export async function login(terminal: Terminal, flags: LoginFlags): Promise<ExitStatus> {
  if (flags.passwordStdin && flags.username === undefined)
    throw new CliError('usage', '--password-stdin goes with --username NAME');
  const profile = await readProfile(terminal.profileFile);
  const server = normalizeServer(
    flags.server ?? (terminal.server || profile.current || 'http://127.0.0.1:8080'),
  );
  const username = flags.username ?? (await ask(terminal, 'Username: ', false));
  if (username === undefined) return exitStatus.interrupted;
  const password = flags.passwordStdin ? await readLine(terminal) : await ask(terminal, 'Password: ', true);
  if (password === undefined) return exitStatus.interrupted;
  const { token } = await makeToken(server, username, password, flags.superuser === true);
  await writeLogin(terminal.profileFile, server, { username, token });
  printLine(
    terminal.stdout,
    `Logged in to ${server} as ${username}. The token is kept in ${terminal.profileFile}`,
  );
  return exitStatus.ok;
}

async function makeToken(
  server: string,
  username: string,
  password: string,
  superuser: boolean,
): Promise<{ token: string }> {
  try {
    return await Client.basic(server, username, password).post<{ token: string }>('/api/v1/user/tokens', {
      name: `cli on ${hostname()}`.slice(0, 255),
      scopes: [
        'repo:read',
        'repo:write',
        'repo:admin',
        'org:admin',
        'user:admin',
        ...(superuser ? ['super:user'] : []),
      ],
    });
  } catch (cause) {
    // "Run: slipway login" is of no use to somebody who just did.
    if (cause instanceof CliError && cause.status === 401)
      throw new CliError('refused', `${server} does not accept this user name and password. Try again.`, {
        cause,
        status: 401,
      });
    throw cause;
  }
}
