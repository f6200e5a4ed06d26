import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PasswordHasher } from '../account/password-hash.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import { SqlAuditLog } from '../audit/sql-audit-log.ts';
import { systemClock } from '../base/clock.ts';
import { Database } from '../db/database.ts';

const program = resolve(import.meta.dirname, 'slipway.ts');
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-operator-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function configure(more: Record<string, unknown> = {}): Promise<string> {
  const file = join(folder, 'config.yaml');
  const config = {
    SERVER_HOSTNAME: 'builds.example.com',
    DB_URI: `sqlite:///${join(folder, 'slipway.db')}`,
    SLIPWAY: { DATA_FOLDER: join(folder, 'data'), LISTEN: { ADDRESS: '127.0.0.1', PORT: 0 } },
    DISTRIBUTED_STORAGE_CONFIG: { default: ['LocalStorage', { storage_path: join(folder, 'storage') }] },
    ...more,
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}

function slipway(args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', program, ...args],
    { encoding: 'utf8', input },
  );
  return { status, stdout, stderr };
}

describe('admin create-user', () => {
  async function principal(username: string, password: string) {
    const database = await Database.open({ provider: 'sqlite', file: join(folder, 'slipway.db') });
    try {
      const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock: systemClock });
      return await accounts.verifyPassword(username, password);
    } finally {
      await database.stop();
    }
  }

  test('the first account is a superuser and gets a password; a second one is an ordinary user', async () => {
    const config = await configure();
    const first = slipway(['admin', 'create-user', 'alice', '--config', config]);
    expect(first).toMatchObject({ status: 0, stdout: expect.stringContaining('superuser alice') });
    const password = /password +(\S+)/.exec(first.stdout)?.[1] ?? '';
    expect(await principal('alice', password)).toMatchObject({ username: 'alice', superuser: true });
    const second = slipway(
      ['admin', 'create-user', 'bob', '--password-stdin', '--config', config],
      'a long enough one\n',
    );
    expect(second.status, second.stderr).toBe(0);
    expect(second.stdout).not.toContain('a long enough one');
    expect(await principal('bob', 'a long enough one')).toMatchObject({ superuser: false });
  });

  test('a name that is taken, and one that is none, are told in one line', async () => {
    const config = await configure();
    expect(slipway(['admin', 'create-user', 'alice', '--config', config]).status).toBe(0);
    for (const [name, why] of [
      ['alice', 'taken'],
      ['Al Ice', 'cannot be a user name'],
    ] as const) {
      const { status, stderr } = slipway(['admin', 'create-user', name, '--config', config]);
      expect(status).toBe(1);
      expect(stderr).toContain(why);
      expect(stderr.trim().split('\n')).toHaveLength(1);
    }
    // That somebody tried is in the audit log as well.
    await using database = await Database.open({ provider: 'sqlite', file: join(folder, 'slipway.db') });
    const records = await new SqlAuditLog({ database, clock: systemClock }).records({ limit: 10 });
    expect(records.map(({ result, reason }) => [result, reason])).toEqual([
      ['failed', 'bad-name'],
      ['failed', 'exists'],
      ['done', undefined],
    ]);
  });
});

describe('serve refuses to start', () => {
  test('with a configuration that is wrong, and says all of it', async () => {
    const config = await configure({ PREFERRED_URL_SCHEME: 'gopher', SUPER_USER: ['x'] });
    const { status, stderr } = slipway(['serve', '--config', config]);
    expect(status).toBe(1);
    expect(stderr).toContain('PREFERRED_URL_SCHEME');
    expect(stderr).toContain('SUPER_USERS');
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('with a certificate that cannot be read, naming the file', async () => {
    const config = await configure({
      PREFERRED_URL_SCHEME: 'https',
      SLIPWAY: {
        DATA_FOLDER: join(folder, 'data'),
        LISTEN: { ADDRESS: '127.0.0.1', PORT: 0, ONE_PORT: true },
        TLS: { CERTIFICATE: '/nonexistent.pem', KEY: '/nonexistent.key' },
      },
      BUILD_MANAGER: ['external', {}],
    });
    const { status, stderr } = slipway(['serve', '--config', config]);
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('/nonexistent.pem'),
    });
  });

  test('with a database that is not there, in one line and another status', async () => {
    const config = await configure({
      DB_URI: 'postgresql://slipway:hidden@127.0.0.1:1/slipway',
      DATABASE_SECRET_KEY: randomBytes(32).toString('hex'),
      BUILD_MANAGER: ['external', {}],
    });
    const { status, stderr } = slipway(['serve', '--config', config]);
    expect(status).toBe(2);
    expect(stderr).not.toContain('hidden');
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
