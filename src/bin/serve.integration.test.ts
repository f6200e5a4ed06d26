import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TcpProxy } from '../../test/fakes/tcp-proxy.ts';
import { metricOf } from '../../test/harness/metric-of.ts';
import { type ScratchDatabase, scratchPostgres } from '../../test/harness/scratch-database.ts';
import { RemoteUser, ServeProcess } from '../../test/harness/serve-process.ts';
import { processesOf, until } from '../../test/harness/slipway-server.ts';
import { freePort } from '../../test/services/service.ts';

/**
 * Two real `slipway serve` on one PostgreSQL, one Redis and one storage folder, behind a TCP load balancer that clients
 * and workers use. Each runs its own registry process and its own local workers, which build with the dummy engine.
 */
let scratch: ScratchDatabase;
let storage: string;
let balancer: TcpProxy;
let ports: readonly [number, number];
let servers: readonly [ServeProcess, ServeProcess];
/** The same user at the balancer, and at either server. */
let user: RemoteUser;
let at: readonly [RemoteUser, RemoteUser];

const secretKey = randomBytes(32).toString('hex');
const prefix = `serve-${randomBytes(4).toString('hex')}-`;

async function configuration(port: number) {
  const { options } = scratch;
  if (options.provider !== 'postgres') throw new Error('this test needs PostgreSQL');
  const redis = new URL(process.env.SLIPWAY_TEST_REDIS ?? '');
  const host = `127.0.0.1:${balancer.port}`;
  return {
    SERVER_HOSTNAME: host,
    PREFERRED_URL_SCHEME: 'http',
    BUILDMAN_HOSTNAME: `localhost:${balancer.port}`,
    DB_URI: options.url.replace(/^postgres:/, 'postgresql:'),
    DATABASE_SECRET_KEY: secretKey,
    SECRET_KEY: secretKey,
    SUPER_USERS: ['root'],
    DISTRIBUTED_STORAGE_CONFIG: { default: ['LocalStorage', { storage_path: storage }] },
    DISTRIBUTED_STORAGE_PREFERENCE: ['default'],
    BUILD_MANAGER: [
      'ephemeral',
      {
        ALLOWED_WORKER_COUNT: 8,
        ORCHESTRATOR_PREFIX: prefix,
        ORCHESTRATOR: { REDIS_HOST: redis.hostname, REDIS_PORT: Number(redis.port) },
        EXECUTORS: [{ EXECUTOR: 'local', NAME: 'here', BUILD_ENGINE: 'dummy' }],
      },
    ],
    SLIPWAY: {
      LISTEN: { ADDRESS: '127.0.0.1', PORT: port, GRPC_PORT: await freePort() },
      ALLOW_PRIVATE: ['127.0.0.1'],
      DRAIN_TIME: 1,
      RETRY_DELAY: 0,
      DATABASE_CONNECTIONS: 5,
    },
  };
}

beforeAll(async () => {
  scratch = await scratchPostgres();
  storage = await mkdtemp(join(tmpdir(), 'slipway-serve-storage-'));
  ports = [await freePort(), await freePort()];
  balancer = await TcpProxy.open({ targets: ports });
  const [first, second] = await Promise.all(
    ports.map(async (port) => await ServeProcess.start({ config: await configuration(port) })),
  );
  if (first === undefined || second === undefined) throw new Error('two servers are needed');
  servers = [first, second];
  const password = first.createUser('root');
  user = await RemoteUser.withPassword(`http://127.0.0.1:${balancer.port}`, 'root', password).withToken();
  at = [user.at(`http://127.0.0.1:${ports[0]}`), user.at(`http://127.0.0.1:${ports[1]}`)];
});

afterAll(async () => {
  for (const server of servers ?? []) await server[Symbol.asyncDispose]();
  await balancer?.[Symbol.asyncDispose]();
  await scratch?.[Symbol.asyncDispose]();
  if (storage !== undefined) await rm(storage, { recursive: true, force: true });
});

/** Which of the two minds a build's attempt now. */
async function minder(buildId: string): Promise<0 | 1> {
  const name = await until('a manager', async () => {
    const row = await scratch.database.sql
      .selectFrom('attempts')
      .select('manager')
      .where('build_id', '=', buildId)
      .where('lease_until', 'is not', null)
      .executeTakeFirst();
    return row?.manager ?? undefined;
  });
  return name === (await servers[0].name()) ? 0 : 1;
}

/** The worker processes that run on a server's machine, which here is its data folder. */
async function workersOf(server: ServeProcess): Promise<number[]> {
  const found = await processesOf(server.data);
  return found.filter(({ command }) => command.includes('src/bin/worker.ts')).map(({ pid }) => pid);
}

/** Milliseconds within which another manager takes over what one that died, or stands still, has left. */
const takenOverWithin = 5_000;

async function untilTakenOver(buildId: string, from: 0 | 1): Promise<void> {
  await until('the other to mind it', async () => (await minder(buildId)) !== from, 10);
}

const manyLines = Array.from({ length: 80 }, (_, at) => `#dummy print line ${at}\n#dummy sleep 100\n`).join(
  '',
);

test('both are equal: healthy, one set of keys, names of their own', async () => {
  for (const each of at) expect((await each.fetch('/health/instance')).status).toBe(200);
  const names = await Promise.all(servers.map((server) => server.name()));
  expect(new Set(names).size).toBe(2);
  const { rows } = { rows: await scratch.database.sql.selectFrom('managers').select('name').execute() };
  expect(rows.map(({ name }) => name).sort()).toEqual([...names].sort());
  const keys = await scratch.database.sql.selectFrom('settings').selectAll().execute();
  expect(keys.map(({ name }) => name)).toContain('signing-keys');
  expect(JSON.stringify(keys)).not.toContain('PRIVATE KEY');
});

test('a user of SUPER_USERS is a superuser, at both', async () => {
  for (const each of at) expect((await each.fetch('/api/v1/superuser/queue')).status).toBe(200);
});

test('a build: asked for at one, its log read at the other, its image served by both', async () => {
  const build = await at[0].build(
    'first',
    'FROM scratch\n#dummy lines 200 80\n#dummy sleep 300\n#dummy lines 10 20\n',
  );
  const minding = await minder(build.id);
  const elsewhere = at[minding === 0 ? 1 : 0];
  await build.says(/^STEP 1\/1/, elsewhere);
  const view = await build.ends(elsewhere);
  expect(view).toMatchObject({ phase: 'complete', attempts: [{ epoch: 1, outcome: 'complete' }] });
  expect(await build.log(at[0])).toEqual(await build.log(at[1]));
  for (const each of at) {
    const { token } = (await (
      await each.fetch('/v2/auth?service=slipway-registry&scope=repository:root/first:pull', {
        headers: {
          authorization: `Basic ${Buffer.from(`$oauthtoken:${user.authorization.slice(7)}`).toString('base64')}`,
        },
      })
    ).json()) as { token: string };
    // A token that one gave out is good at the other.
    for (const { url } of at) {
      const manifest = await fetch(new URL('/v2/root/first/manifests/latest', url), {
        headers: {
          authorization: `Bearer ${token}`,
          accept: 'application/vnd.docker.distribution.manifest.v2+json',
        },
      });
      expect(manifest.headers.get('docker-content-digest')).toBe(view.digest);
    }
  }
});

test('a build is cancelled through the manager that does not mind it', async () => {
  const build = await user.build('cancelled', 'FROM scratch\n#dummy print under way\n#dummy hang\n');
  await build.says(/under way/);
  const other = at[(await minder(build.id)) === 0 ? 1 : 0];
  expect((await build.cancel(other)).status).toBe(201);
  const view = await build.ends(other);
  expect(view.phase).toBe('cancelled');
  expect((await build.log()).at(-1)).toMatchObject({ type: 'phase', message: 'cancelled' });
});

test('SIGTERM of the one that minds a build leaves it to the other, and the build ends as if nothing was', async () => {
  const build = await user.build(
    'handed-over',
    `FROM scratch\n${Array.from({ length: 60 }, (_, at) => `#dummy print line ${at}\n#dummy sleep 100\n`).join('')}`,
  );
  await build.says(/^line 5$/);
  const minding = await minder(build.id);
  const left = at[minding === 0 ? 1 : 0];
  expect(await servers[minding].kill('SIGTERM')).toBe(0);
  const view = await build.ends(left);
  expect(view, JSON.stringify(view)).toMatchObject({
    phase: 'complete',
    attempts: [{ epoch: 1, outcome: 'complete' }],
  });
  const lines = (await build.log(left)).flatMap(({ message }) => /^line (\d+)$/.exec(message)?.[1] ?? []);
  expect(lines.map(Number)).toEqual(Array.from({ length: 60 }, (_, at) => at));
  await servers[minding].start();
});

test('a worker that loses its manager goes on with another one, which has taken over within 5 s', async () => {
  const build = await user.build('lost-manager', `FROM scratch\n${manyLines}`);
  await build.says(/^line 5$/);
  const minding = await minder(build.id);
  const left = at[minding === 0 ? 1 : 0];
  const before = await metricOf(left.url, 'slipway_lease_takeovers_total');
  const killed = performance.now();
  expect(await servers[minding].kill('SIGKILL')).toBeUndefined();
  await untilTakenOver(build.id, minding);
  expect(performance.now() - killed).toBeLessThanOrEqual(takenOverWithin);
  const view = await build.ends(left);
  expect(view, JSON.stringify(view)).toMatchObject({
    phase: 'complete',
    attempts: [{ epoch: 1, outcome: 'complete' }],
  });
  const lines = (await build.log(left)).flatMap(({ message }) => /^line (\d+)$/.exec(message)?.[1] ?? []);
  expect(lines.map(Number)).toEqual(Array.from({ length: 80 }, (_, at) => at));
  expect(await metricOf(left.url, 'slipway_lease_takeovers_total')).toBe(before + 1);
  await servers[minding].start();
});

test('a manager that stands still loses its builds within 5 s, and changes nothing when it goes on', async () => {
  const build = await user.build('frozen-manager', `FROM scratch\n${manyLines}`);
  await build.says(/^line 5$/);
  const minding = await minder(build.id);
  const left = at[minding === 0 ? 1 : 0];
  const before = await metricOf(left.url, 'slipway_lease_takeovers_total');
  const frozen = performance.now();
  const thaw = servers[minding].freeze();
  try {
    await untilTakenOver(build.id, minding);
    expect(performance.now() - frozen).toBeLessThanOrEqual(takenOverWithin);
  } finally {
    thaw();
  }
  expect(await metricOf(left.url, 'slipway_lease_takeovers_total')).toBe(before + 1);
  const view = await build.ends(left);
  expect(view, JSON.stringify(view)).toMatchObject({
    phase: 'complete',
    attempts: [{ epoch: 1, outcome: 'complete' }],
  });
  const lines = (await build.log(left)).flatMap(({ message }) => /^line (\d+)$/.exec(message)?.[1] ?? []);
  expect(lines.map(Number)).toEqual(Array.from({ length: 80 }, (_, at) => at));
  expect((await at[minding].fetch('/health/instance')).status).toBe(200);
});

test('the death of a worker is seen by the manager that can see it, though another one minds the build', async () => {
  const build = await user.build('worker-killed', 'FROM scratch\n#dummy print under way\n#dummy hang\n');
  await build.says(/under way/);
  const minding = await minder(build.id);
  const server = servers[minding];
  await server.kill('SIGKILL');
  await untilTakenOver(build.id, minding);
  await server.start();
  const workers = await workersOf(server);
  expect(workers).toHaveLength(1);
  for (const pid of workers) process.kill(pid, 'SIGKILL');
  const view = await until(
    'another attempt',
    async () => {
      const seen = await build.view();
      return seen.attempts.length > 1 && seen;
    },
    10,
  );
  expect(view.attempts[0]).toMatchObject({ outcome: 'internal-error', error_code: 'workerlost' });
  expect((await build.cancel()).status).toBe(201);
  expect((await build.ends()).phase).toBe('cancelled');
});

test('a worker that hears nothing is ended by the manager that can, when the other one cancels its build', async () => {
  const build = await user.build('cancelled-deaf', 'FROM scratch\n#dummy print under way\n#dummy hang\n');
  await build.says(/under way/);
  const minding = await minder(build.id);
  const server = servers[minding];
  const [worker, ...others] = await workersOf(server);
  if (worker === undefined) throw new Error('no worker');
  expect(others).toEqual([]);
  await server.kill('SIGKILL');
  await untilTakenOver(build.id, minding);
  await server.start();
  process.kill(worker, 'SIGSTOP');
  expect((await build.cancel(at[minding === 0 ? 1 : 0])).status).toBe(201);
  expect((await build.ends()).phase).toBe('cancelled');
  await until('the worker to be gone', async () => (await workersOf(server)).length === 0, 30);
  await until(
    'its folder to be gone',
    async () => (await readdir(join(server.data, 'run/workers'))).length === 0,
    10,
  );
});
