import { randomBytes } from 'node:crypto';
import { AccountError } from '../account/account-error.ts';
import { PasswordHasher } from '../account/password-hash.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import { SqlAuditLog } from '../audit/sql-audit-log.ts';
import { systemClock as clock } from '../base/clock.ts';
import { type ExitStatus, exitStatus } from '../cli/cli-error.ts';
import { printLine, type Terminal } from '../cli/terminal.ts';
import type { ProcessEnvironment } from './environment.ts';
import { openDatabase } from './open-database.ts';
import { asOperator } from './operator-error.ts';
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
  return await asOperator(() => create(environment, terminal, username, flags));
}

async function create(
  environment: ProcessEnvironment,
  terminal: Terminal,
  username: string,
  flags: CreateUserFlags,
): Promise<ExitStatus> {
  const config = readConfig(environment, flags.config);
  const given = flags.passwordStdin === true ? await firstLine(terminal.stdin) : undefined;
  const database = await openDatabase(config.database);
  try {
    const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
    const first = !(await accounts.anyUser());
    const superuser = flags.superuser === true || first;
    const password = given ?? randomBytes(15).toString('base64url');
    const audit = new SqlAuditLog({ database, clock });
    const event = {
      actor: { kind: 'system', name: 'slipway admin create-user' },
      action: 'user.create',
      target: { kind: 'user', name: username.slice(0, 255), namespace: username.slice(0, 255) },
      detail: { superuser },
    } as const;
    try {
      await accounts.createUser({
        username,
        password,
        superuser,
        ...(flags.email === undefined ? {} : { email: flags.email }),
      });
    } catch (thrown) {
      if (thrown instanceof AccountError)
        await audit.write({ ...event, result: 'failed', reason: thrown.code });
      throw thrown;
    }
    await audit.write({ ...event, result: 'done' });
    const why = first && flags.superuser !== true ? ', because it is the first account' : '';
    printLine(terminal.stdout, `Made the ${superuser ? 'superuser' : 'user'} ${username}${why}.`);
    if (given === undefined) printLine(terminal.stdout, `password  ${password}`);
  } finally {
    await database.stop();
  }
  return exitStatus.ok;
}

async function firstLine(input: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const chunk of input) text += String(chunk);
  return text.split(/\r?\n/, 1)[0] ?? '';
}
