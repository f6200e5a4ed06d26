import { hostname } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { Client } from './client.ts';
import { normalizeServer, readProfile, writeLogin } from './profile.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface LoginFlags {
  readonly server?: string;
  readonly username?: string;
  readonly passwordStdin?: boolean;
}

/** Exchanges a name and password for a personal token and keeps that, never the password. */
export async function login(terminal: Terminal, flags: LoginFlags): Promise<ExitStatus> {
  const profile = await readProfile(terminal.profileFile);
  const server = normalizeServer(
    flags.server ?? terminal.server ?? profile.current ?? 'http://127.0.0.1:8080',
  );
  const username = flags.username ?? (await ask(terminal, 'Username: ', false));
  const password = flags.passwordStdin ? await readAll(terminal) : await ask(terminal, 'Password: ', true);
  const { token } = await Client.basic(server, username, password).post<{ token: string }>(
    '/api/v1/user/tokens',
    {
      name: `cli on ${hostname()}`,
      scopes: ['repo:read', 'repo:write', 'repo:admin', 'user:admin'],
    },
  );
  await writeLogin(terminal.profileFile, server, { username, token });
  printLine(
    terminal.stdout,
    `Logged in to ${server} as ${username}. The token is kept in ${terminal.profileFile}`,
  );
  return exitStatus.ok;
}

async function ask(terminal: Terminal, question: string, hidden: boolean): Promise<string> {
  if (terminal.stdin.isTTY !== true)
    throw new CliError('usage', 'There is no terminal to ask on. Give --username and --password-stdin');
  let quiet = false;
  const output = new Writable({
    write: (chunk, _encoding, done) => {
      if (!quiet) terminal.stderr.write(chunk);
      done();
    },
  });
  const prompt = createInterface({ input: terminal.stdin, output, terminal: true });
  try {
    const answer = prompt.question(question);
    quiet = hidden;
    return await answer;
  } finally {
    prompt.close();
    if (hidden) printLine(terminal.stderr);
  }
}

async function readAll(terminal: Terminal): Promise<string> {
  let text = '';
  for await (const chunk of terminal.stdin) text += String(chunk);
  return text.replace(/\r?\n$/, '');
}
