import { randomBytes } from 'node:crypto';
import { PasswordHasher } from '../account/password-hash.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import { systemClock as clock } from '../base/clock.ts';
import { type ExitStatus, exitStatus } from '../cli/cli-error.ts';
import { printLine, type Terminal } from '../cli/terminal.ts';
import type { ProcessEnvironment } from './environment.ts';
import { openDatabase } from './open-database.ts';
import { readConfig } from './read-config.ts';

export interface CreateUserFlags {
  readonly config: string;
  readonly email?: string;
  readonly superuser?: boolean;
  readonly passwordStdin?: boolean;
}

/**
 * `slipway admin create-user`: makes an account in the database itself, so it also makes the first one. Servers of that
 * database may run meanwhile.
 */
export async function createUser(
  environment: ProcessEnvironment,
  terminal: Terminal,
  username: string,
  flags: CreateUserFlags,
): Promise<ExitStatus> {
  const config = readConfig(environment, flags.config);
  const given = flags.passwordStdin === true ? await firstLine(terminal.stdin) : undefined;
  await using database = await openDatabase(config.database);
  const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
  const first = !(await accounts.anyUser());
  const superuser = flags.superuser === true || first;
  const password = given ?? randomBytes(15).toString('base64url');
  await accounts.createUser({
    username,
    password,
    superuser,
    ...(flags.email === undefined ? {} : { email: flags.email }),
  });
  printLine(terminal.stdout, `Made the ${superuser ? 'superuser' : 'user'} ${username}.`);
  if (first && flags.superuser !== true)
    printLine(terminal.stdout, 'It is the first account, so it is a superuser.');
  if (given === undefined) printLine(terminal.stdout, `password  ${password}`);
  return exitStatus.ok;
}

async function firstLine(input: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const chunk of input) text += String(chunk);
  return text.split(/\r?\n/, 1)[0] ?? '';
}
