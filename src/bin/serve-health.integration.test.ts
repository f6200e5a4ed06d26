import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TcpProxy } from '../../test/fakes/tcp-proxy.ts';
import { type ScratchDatabase, scratchPostgres } from '../../test/harness/scratch-database.ts';
import { RemoteUser, ServeProcess } from '../../test/harness/serve-process.ts';
import { freePort } from '../../test/services/service.ts';
import { PasswordHasher } from '../account/password-hash.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import { systemClock } from '../base/clock.ts';

/**
 * What load balancers and monitoring see of a real `slipway serve` whose PostgreSQL or Redis cannot be reached. Both are
 * behind a TCP proxy each, since others use them.
 */
let scratch: ScratchDatabase;
let storage: string;
let database: TcpProxy;
let redis: TcpProxy;
let server: ServeProcess;
let url: string;
let root: RemoteUser;

beforeAll(async () => {
  scratch = await scratchPostgres();
  const { options } = scratch;
  if (options.provider !== 'postgres') throw new Error('this test needs PostgreSQL');
  storage = await mkdtemp(join(tmpdir(), 'slipway-health-storage-'));
  const databaseUrl = new URL(options.url);
  const redisUrl = new URL(process.env.SLIPWAY_TEST_REDIS ?? '');
  database = await TcpProxy.open({ targets: [Number(databaseUrl.port)] });
  redis = await TcpProxy.open({ targets: [Number(redisUrl.port)] });
  databaseUrl.port = String(database.port);
  const port = await freePort();
  const secretKey = randomBytes(32).toString('hex');
  url = `http://127.0.0.1:${port}`;
  server = await ServeProcess.start({
    config: {
      SERVER_HOSTNAME: `127.0.0.1:${port}`,
      PREFERRED_URL_SCHEME: 'http',
      DB_URI: databaseUrl.href.replace(/^postgres:/, 'postgresql:'),
      DATABASE_SECRET_KEY: secretKey,
      SECRET_KEY: secretKey,
      SUPER_USERS: ['root'],
      DISTRIBUTED_STORAGE_CONFIG: {
        default: ['LocalStorage', { storage_path: storage }],
        logs: ['LocalStorage', { storage_path: logs() }],
      },
      LOG_ARCHIVE_LOCATION: 'logs',
      DISTRIBUTED_STORAGE_PREFERENCE: ['default'],
      BUILD_MANAGER: [
        'ephemeral',
        {
          ALLOWED_WORKER_COUNT: 1,
          ORCHESTRATOR_PREFIX: `health-${randomBytes(4).toString('hex')}-`,
          ORCHESTRATOR: { REDIS_HOST: '127.0.0.1', REDIS_PORT: redis.port },
          EXECUTORS: [{ EXECUTOR: 'local', NAME: 'here', BUILD_ENGINE: 'dummy' }],
        },
      ],
      SLIPWAY: { LISTEN: { ADDRESS: '127.0.0.1', PORT: port, GRPC_PORT: await freePort() }, DRAIN_TIME: 1 },
    },
  });
  // Not by the command: the proxies are in this process, which would wait for it.
  const accounts = new SqlAccounts({
    database: scratch.database,
    passwords: new PasswordHasher(),
    clock: systemClock,
  });
  await accounts.createUser({ username: 'root', password: 'correct horse', superuser: true });
  root = await RemoteUser.withPassword(url, 'root', 'correct horse').withToken();
});

afterAll(async () => {
  database?.set({ kind: 'fair' });
  redis?.set({ kind: 'fair' });
  await server?.[Symbol.asyncDispose]();
  await database?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
  await scratch?.[Symbol.asyncDispose]();
  if (storage !== undefined) await rm(storage, { recursive: true, force: true });
});

/** Where archived logs are: a disk of their own, as it were. */
const logs = (): string => join(storage ?? '', 'logs-elsewhere');

interface Health {
  readonly status_code: number;
  readonly data: {
    readonly services: Readonly<Record<string, boolean>>;
    readonly services_expanded?: Readonly<
      Record<string, { readonly status: boolean; readonly failure?: string }>
    >;
  };
}

/** The status of an answer, which its body repeats, and the parts that do not work. */
async function seen(which: 'instance' | 'endtoend', by?: RemoteUser) {
  const path = `/health/${which}`;
  const response = by === undefined ? await fetch(new URL(path, url)) : await by.fetch(path);
  const health = (await response.json()) as Health;
  expect(health.status_code).toBe(response.status);
  const { services, services_expanded: reasons } = health.data;
  const broken = Object.keys(services).filter((name) => services[name] === false);
  return { status: response.status, broken: broken.sort(), reasons };
}

const eventually = (which: 'instance' | 'endtoend', status: number, broken: readonly string[]) =>
  expect
    .poll(
      async () => {
        const { status: now, broken: parts } = await seen(which);
        return { status: now, broken: parts };
      },
      { timeout: 30_000, interval: 200 },
    )
    .toEqual({ status, broken });

test('all is well', async () => {
  await eventually('instance', 200, []);
  await eventually('endtoend', 200, []);
});

test.each(['cut', 'stalled'] as const)(
  'without a database (%s) both say so, and are well again after it',
  async (kind) => {
    database.set({ kind });
    await eventually('instance', 503, ['database']);
    await eventually('endtoend', 503, ['auth', 'database', 'executors', 'queue']);
    // An answer comes, whatever the database does: who asks has to know before it gives up.
    const asked = performance.now();
    await seen('instance');
    expect(performance.now() - asked).toBeLessThan(6_000);
    database.set({ kind: 'fair' });
    await eventually('instance', 200, []);
    await eventually('endtoend', 200, []);
  },
);

test('without a database REST says that it is for now, and is worth another try', async () => {
  database.set({ kind: 'cut' });
  await eventually('instance', 503, ['database']);
  const answer = await root.fetch('/api/v1/user/');
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5']);
  expect(await answer.json()).toMatchObject({ error_type: 'unavailable' });
  database.set({ kind: 'fair' });
  await eventually('instance', 200, []);
  expect((await root.fetch('/api/v1/user/')).status).toBe(200);
});

test('without Redis a server stays in the load balancer, and monitoring hears of it; why, superusers do', async () => {
  redis.set({ kind: 'cut' });
  await eventually('endtoend', 503, ['redis']);
  await eventually('instance', 200, []);
  expect((await seen('endtoend')).reasons).toBeUndefined();
  expect((await seen('endtoend', root)).reasons?.redis).toEqual({
    status: false,
    failure: expect.stringContaining('not connected'),
  });
  redis.set({ kind: 'fair' });
  await eventually('endtoend', 200, []);
});

test('without the storage of archived logs both say so, although uploads can be stored', async () => {
  await rm(logs(), { recursive: true, force: true });
  await writeFile(logs(), 'no folder');
  await eventually('instance', 503, ['log_archive']);
  await eventually('endtoend', 503, ['log_archive']);
  await rm(logs());
  await eventually('instance', 200, []);
});
