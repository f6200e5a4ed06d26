import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createRepository, readLog, uploadFile, waitForEnd } from '../../test/harness/build-client.ts';
import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { RemoteBuild, RemoteUser, ServeProcess } from '../../test/harness/serve-process.ts';
import { SlipwayServer, until } from '../../test/harness/slipway-server.ts';
import { freePort } from '../../test/services/service.ts';
import { Database } from '../db/database.ts';
import { beginRotation } from './secret-key-files.ts';

const program = resolve(import.meta.dirname, 'slipway.ts');
const secret = 'hunter2-hunter2-hunter2';
const inBase64 = Buffer.from(secret).toString('base64');
const waits = 'FROM scratch\n#dummy print under way\n#dummy hang\n';
/** The worker masks it only if it was told the secret. */
const tells = `FROM scratch\n#dummy print the secret is ${secret}\n`;

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-rotate-'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function rotateKey(...flags: readonly string[]) {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', program, 'admin', 'rotate-key', ...flags],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const ended = new Promise<number | null>((done) => child.once('close', done));
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { status, stdout, stderr, output: stdout + stderr };
}

/** Servers are started several times, also on a machine that has much else to do. */
const patience = { timeout: 300_000 };

describe('a server of `up`', patience, () => {
  const keyFile = () => join(server.data, 'keys/database-secret-key');
  let server: SlipwayServer;

  async function build(dockerfile: string, secrets: Record<string, string> = {}): Promise<string> {
    const file = join(folder, 'Dockerfile');
    await writeFile(file, dockerfile);
    const fileId = await uploadFile(server, file, 'text/plain');
    const path = '/api/v1/repository/admin/app/build/';
    const { id } = await server.json<{ id: string }>('POST', path, { file_id: fileId, secrets });
    return id;
  }

  test('builds with a secret that was given before the key was changed', async () => {
    vi.stubEnv('BUILD_ENGINE', 'dummy');
    server = await SlipwayServer.start(['--workers', '1', '--retry-delay', '0', '--drain', '0']);
    try {
      await createRepository(server, 'admin', 'app');
      const first = await build(waits);
      await until('the first to run', async () =>
        (await readLog(server, 'admin/app', first)).some(({ message }) => message === 'under way'),
      );
      // One build of a repository at once: this one waits.
      const second = await build(tells, { npm: inBase64 });
      const before = await readFile(keyFile(), 'utf8');

      const refused = await rotateKey('--data', server.data);
      expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('already uses') });
      expect(await readFile(keyFile(), 'utf8')).toBe(before);

      expect(await server.kill('SIGTERM')).toBe(0);
      const counted = await rotateKey('--data', server.data, '--dry-run');
      expect(counted).toMatchObject({ status: 0, stderr: '' });
      expect(counted.stdout).toContain('build secrets: 1 with the current key,');
      expect(await readFile(keyFile(), 'utf8')).toBe(before);

      // As if it had died once the new key was made: the server runs, and the next run goes on with that key.
      await beginRotation(join(server.data, 'keys'));
      const after = await readFile(keyFile(), 'utf8');
      expect(after).not.toBe(before);
      await server.start();
      expect(await server.kill('SIGTERM')).toBe(0);

      const rotated = await rotateKey('--data', server.data);
      expect(rotated, rotated.output).toMatchObject({ status: 0, stderr: '' });
      expect(rotated.stdout).toContain('build secrets: 1 with the current key (1 sealed anew)');
      expect(await readFile(keyFile(), 'utf8')).toBe(after);
      const keys = await readdir(join(server.data, 'keys'));
      expect(keys.filter((name) => name.startsWith('database-secret-key'))).toEqual(['database-secret-key']);
      for (const output of [refused, counted, rotated].map((each) => each.output))
        for (const needle of [secret, inBase64, before.trim(), after.trim()])
          expect(output).not.toContain(needle);

      await server.start();
      await server.fetch(`/api/v1/repository/admin/app/build/${first}`, { method: 'DELETE' });
      expect((await waitForEnd(server, 'admin/app', second)).phase).toBe('complete');
      const lines = (await readLog(server, 'admin/app', second)).map(({ message }) => message);
      expect(lines).toContain('the secret is ***');
      const { records } = await server.json<{ records: { action: string; result: string }[] }>(
        'GET',
        '/api/v1/superuser/audit?action=secrets.rotate',
      );
      expect(records).toMatchObject([{ action: 'secrets.rotate', result: 'done' }]);
    } finally {
      await server.dispose();
    }
  });

  test('keeps the former key when a secret cannot be opened, which is named', async () => {
    vi.stubEnv('BUILD_ENGINE', 'dummy');
    server = await SlipwayServer.start(['--workers', '1', '--drain', '0']);
    try {
      await createRepository(server, 'admin', 'app');
      await build(waits);
      const second = await build(tells, { npm: inBase64 });
      const third = await build(tells, { npm: inBase64 });
      expect(await server.kill('SIGTERM')).toBe(0);
      {
        await using database = await Database.open({
          provider: 'sqlite',
          file: join(server.data, 'slipway.db'),
        });
        const { sealed } = await database.sql
          .selectFrom('build_secrets')
          .select('sealed')
          .where('build_id', '=', second)
          .executeTakeFirstOrThrow();
        const damaged = Buffer.from(sealed);
        damaged[40] = (damaged[40] ?? 0) ^ 1;
        await database.sql
          .updateTable('build_secrets')
          .set({ sealed: damaged })
          .where('build_id', '=', second)
          .execute();
      }
      for (const anew of [1, 0]) {
        const { status, stdout } = await rotateKey('--data', server.data);
        expect(status).toBe(1);
        expect(stdout).toContain(`build secrets: 1 with the current key (${anew} sealed anew)`);
        expect(stdout).toContain(`build_id="${second}" id="npm": damaged`);
        expect(stdout).not.toContain(third);
        expect(await readdir(join(server.data, 'keys'))).toContain('database-secret-key.former');
      }
      // Without that build nothing is left.
      await server.start();
      await server.fetch(`/api/v1/repository/admin/app/build/${second}`, { method: 'DELETE' });
      expect(await server.kill('SIGTERM')).toBe(0);
      expect(await rotateKey('--data', server.data)).toMatchObject({ status: 0 });
      expect(await readdir(join(server.data, 'keys'))).not.toContain('database-secret-key.former');
      await server.start();
    } finally {
      await server.dispose();
    }
  });

  test('is not made by a wrong folder, and not looked for in two places', async () => {
    const none = join(folder, 'none');
    expect(await rotateKey('--data', none)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('is not the data folder of a server'),
    });
    expect(await readdir(folder)).toEqual([]);
    expect(await rotateKey('--data', none, '--config', none)).toMatchObject({ status: 1 });
  });
});

describe('a server of `serve`', patience, () => {
  const keys = [randomBytes(32).toString('hex'), `${secret}, another key`] as const;

  test('runs while all is sealed anew, and needs the former key no more', async () => {
    await using scratch = await scratchPostgres();
    if (scratch.options.provider !== 'postgres') throw new Error('this test needs PostgreSQL');
    const port = await freePort();
    const config = {
      SERVER_HOSTNAME: `127.0.0.1:${port}`,
      DB_URI: scratch.options.url.replace(/^postgres:/, 'postgresql:'),
      DATABASE_SECRET_KEY: keys[0],
      DISTRIBUTED_STORAGE_CONFIG: { default: ['LocalStorage', { storage_path: join(folder, 'storage') }] },
      BUILD_MANAGER: [
        'ephemeral',
        { ALLOWED_WORKER_COUNT: 1, EXECUTORS: [{ EXECUTOR: 'local', NAME: 'here', BUILD_ENGINE: 'dummy' }] },
      ],
      SLIPWAY: {
        LISTEN: { ADDRESS: '127.0.0.1', PORT: port, ONE_PORT: true },
        ALLOW_PRIVATE: ['127.0.0.1'],
        DRAIN_TIME: 0,
        RETRY_DELAY: 0,
      },
    };
    await using server = await ServeProcess.start({ config });
    const rotate = (...flags: readonly string[]) => rotateKey('--config', server.configFile, ...flags);
    const user = await RemoteUser.withPassword(
      `http://127.0.0.1:${port}`,
      'root',
      server.createUser('root'),
    ).withToken();
    const first = await user.build('app', waits);
    await first.says(/under way/);
    const second = await withSecret(user);

    const configure = async (current: string, former: readonly string[]) => {
      const stored = JSON.parse(await readFile(server.configFile, 'utf8')) as typeof config;
      const SLIPWAY = { ...stored.SLIPWAY, FORMER_DATABASE_SECRET_KEYS: former };
      await writeFile(
        server.configFile,
        JSON.stringify({ ...stored, DATABASE_SECRET_KEY: current, SLIPWAY }, undefined, 2),
      );
    };
    expect(await server.kill('SIGTERM')).toBe(0);
    await configure(keys[1], []);
    await expect(server.start()).rejects.toThrow(/FORMER_DATABASE_SECRET_KEYS/);
    const without = await rotate();
    expect(without.status).toBe(1);
    expect(without.stdout).toContain(
      'settings.value_json name="signing-keys": sealed with a key that is not here',
    );
    expect(without.stdout).toContain(
      `build_secrets.sealed build_id="${second.id}" id="npm": sealed with a key`,
    );

    await configure(keys[1], [keys[0]]);
    await server.start();
    const counted = await rotate('--dry-run');
    expect(counted).toMatchObject({ status: 1, stderr: '' });
    expect(counted.stdout).toContain('signing keys: 0 with the current key, 1 with a former key');
    const rotated = await rotate();
    expect(rotated, rotated.output).toMatchObject({ status: 0, stderr: '' });
    expect(rotated.stdout).toContain('signing keys: 1 with the current key (1 sealed anew)');
    expect(rotated.stdout).toContain('remove SLIPWAY.FORMER_DATABASE_SECRET_KEYS');
    const again = await rotate('--dry-run');
    expect(again).toMatchObject({ status: 0, stderr: '' });

    // The server that runs, and the next one without the former key, both open what is sealed anew.
    expect((await user.fetch('/health/instance')).status).toBe(200);
    expect(await server.kill('SIGTERM')).toBe(0);
    await configure(keys[1], []);
    await server.start();
    expect((await first.cancel()).status).toBe(201);
    expect((await second.ends()).phase).toBe('complete');
    expect((await second.log()).map(({ message }) => message)).toContain('the secret is ***');
    for (const { output } of [without, counted, rotated, again])
      for (const needle of [secret, inBase64, ...keys, 'PRIVATE']) expect(output).not.toContain(needle);
    expect(await server.log()).not.toContain(secret);
  });

  async function withSecret(user: RemoteUser): Promise<RemoteBuild> {
    const drop = await user.json<{ url: string; file_id: string }>('POST', '/api/v1/filedrop/', {
      mimeType: 'text/plain',
    });
    await fetch(new URL(drop.url, user.url), {
      method: 'PUT',
      body: tells,
      headers: { 'content-type': 'text/plain' },
    });
    const path = `/api/v1/repository/${user.username}/app/build/`;
    const { id } = await user.json<{ id: string }>('POST', path, {
      file_id: drop.file_id,
      secrets: { npm: inBase64 },
    });
    return new RemoteBuild(user, `${path}${id}`, id);
  }
});
