import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Finding } from '../setup/finding.ts';
import { buildPackages } from '../setup/package-list.ts';
import { programPath } from '../setup/packages.ts';
import { checkClock } from './doctor-server.ts';
import { freePort } from './free-port.ts';

const run = promisify(execFile);
const program = [
  '--disable-warning=ExperimentalWarning',
  resolve(import.meta.dirname, 'slipway.ts'),
  'doctor',
  '--json',
];

let folder: string;
let servers: Server[];
beforeEach(async () => {
  servers = [];
  folder = await mkdtemp(join(tmpdir(), 'slipway-doctor-'));
  await chmod(folder, 0o711);
});
afterEach(async () => {
  for (const server of servers) await new Promise((closed) => server.close(closed));
  await rm(folder, { recursive: true, force: true });
});

interface Answer {
  readonly status: number | null;
  readonly missing: Readonly<Record<string, Finding>>;
  readonly findings: readonly Finding[];
  readonly output: string;
}

async function doctor(
  flags: readonly string[],
  { path, account }: { readonly path?: string; readonly account?: { uid: number; gid: number } } = {},
): Promise<Answer> {
  const port = ['--port', String(await freePort('127.0.0.1'))];
  const { status, stdout, stderr } = await new Promise<{
    status: number | null;
    stdout: string;
    stderr: string;
  }>((done) => {
    const child = execFile(
      process.execPath,
      [...program, ...(flags.includes('--port') ? [] : port), ...flags],
      {
        env: {
          PATH: path ?? '/usr/local/bin:/usr/bin:/bin',
          HOME: folder,
          SLIPWAY_PROFILE: join(folder, 'no-profile.json'),
        },
        ...account,
      },
      (_error, stdout, stderr) => done({ status: child.exitCode, stdout, stderr }),
    );
  });
  const output = stdout + stderr;
  if (!stdout.startsWith('{')) throw new Error(`no JSON: ${output}`);
  const { findings } = JSON.parse(stdout) as { readonly findings: readonly Finding[] };
  return {
    status,
    findings,
    output,
    missing: Object.fromEntries(
      findings.filter((each) => each.status === 'missing').map((each) => [each.name, each]),
    ),
  };
}

/** A folder of links to everything that builds need, but for some programs. */
async function pathWithout(...left: readonly string[]): Promise<string> {
  const bin = join(folder, 'bin');
  await mkdir(bin);
  for (const { programs } of buildPackages)
    for (const name of programs) {
      const at = programPath(name, '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin');
      if (!left.includes(name) && at !== undefined) await symlink(at, join(bin, name));
    }
  return bin;
}

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  return (server.address() as AddressInfo).port;
}

const newData = () => ['--data', join(folder, 'data')];

test('a machine that has everything is well', async () => {
  const { status, missing, findings } = await doctor(newData());
  expect({ status, missing }).toEqual({ status: 0, missing: {} });
  expect(findings.find(({ name }) => name === 'buildah')?.what).toMatch(/^\d+\.\d+/);
});

test('a program that is gone is named with the command that brings it', async () => {
  const { status, missing } = await doctor(newData(), { path: await pathWithout('buildah', 'skopeo') });
  expect(status).toBe(1);
  expect(missing).toMatchObject({
    buildah: {
      mend: 'sudo apt-get update && sudo apt-get install -y --no-install-recommends buildah',
    },
    skopeo: { what: expect.stringContaining('reads images back') },
  });
  expect(Object.keys(missing).sort()).toEqual(['buildah', 'layer storage', 'skopeo']);
});

test('a port that something else has, and a server that is not well, are told apart', async () => {
  const taken = await listen(createServer((_request, response) => response.end('hello')));
  const other = await doctor([...newData(), '--port', String(taken)]);
  expect(other.missing[`port ${taken}`]).toMatchObject({
    what: expect.stringContaining('something else listens there already'),
    mend: `sudo ss -ltnp 'sport = :${taken}'`,
  });
  let services = { database: true, storage: false };
  const ours = await listen(
    createServer((_request, response) => {
      response.statusCode = services.storage ? 200 : 503;
      response.end(JSON.stringify({ data: { services } }));
    }),
  );
  const ill = await doctor([...newData(), '--port', String(ours)]);
  expect(ill.missing[`port ${ours}`]?.what).toBe('A Slipway server has it, and does not work: storage.');
  services = { database: true, storage: true };
  const well = await doctor([...newData(), '--port', String(ours)]);
  expect(well.missing).toEqual({});
});

test.each([
  [0, 'ok'],
  [-12_000, 'warning'],
  [300_000, 'missing'],
])('a server whose clock is %i ms away: %s', async (away, status) => {
  const port = await listen(
    createServer((_request, response) => {
      response.setHeader('date', new Date(Date.now() + away).toUTCString());
      response.end('{}');
    }),
  );
  const found = await checkClock(`http://127.0.0.1:${port}`);
  expect(found).toMatchObject({ name: 'clock', status });
  if (status !== 'ok') expect(found.mend).toBe('sudo timedatectl set-ntp true');
});

describe.skipIf(process.getuid?.() !== 0)('as an ordinary account (needs root to make one)', () => {
  const name = `slipway-ill-${process.pid}`;
  afterAll(() => {
    spawnSync('userdel', [name]);
  });

  test('subordinate ids that are missing are mended by the command, and folders are looked at', async () => {
    await run('useradd', [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/nonexistent',
      name,
    ]);
    const [uid = 0, gid = 0] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, name])));
    const account = { uid, gid };
    const data = join(folder, 'closed/data');
    await mkdir(data, { recursive: true });
    const before = await doctor(['--data', data], { account });
    expect(before.status).toBe(1);
    expect(Object.keys(before.missing).sort()).toEqual(['data folder', 'subordinate ids']);
    const command = before.missing['subordinate ids']?.mend ?? '';
    expect(command).toMatch(/^sudo usermod --add-subuids \d+-\d+ --add-subgids \d+-\d+ \S+$/);
    const [, usermod = '', ...args] = command.split(' ');
    await run(usermod, args);
    const [, install = '', ...made] = (before.missing['data folder']?.mend ?? '').split(' ');
    await run(install, made);
    expect((await doctor(['--data', data], { account })).missing).toEqual({});
  });

  test('the account of the builds has to get to the data folder', async () => {
    const closed = join(folder, 'closed');
    await mkdir(join(closed, 'data'), { recursive: true });
    await chmod(closed, 0o700);
    const { missing } = await doctor(['--data', join(closed, 'data')]);
    expect(missing).toMatchObject({ 'way to the data folder': { mend: `chmod o+x ${closed}` } });
  });
});

describe('a configuration', () => {
  const secret = 'a secret of some length 0123456789';
  async function configured(changes: Record<string, unknown>): Promise<string> {
    const file = join(folder, 'config.yaml');
    const config = {
      SERVER_HOSTNAME: '127.0.0.1:8080',
      PREFERRED_URL_SCHEME: 'http',
      DATABASE_SECRET_KEY: secret,
      SECRET_KEY: secret,
      DISTRIBUTED_STORAGE_CONFIG: { default: ['LocalStorage', { storage_path: join(folder, 'storage') }] },
      DISTRIBUTED_STORAGE_PREFERENCE: ['default'],
      ...changes,
      SLIPWAY: {
        DATA_FOLDER: join(folder, 'data'),
        LISTEN: {
          ADDRESS: '127.0.0.1',
          PORT: await freePort('127.0.0.1'),
          GRPC_PORT: await freePort('127.0.0.1'),
        },
      },
    };
    // JSON is YAML.
    await writeFile(file, JSON.stringify(config));
    return file;
  }
  const manager = (orchestrator: object) => [
    'ephemeral',
    {
      ORCHESTRATOR: orchestrator,
      EXECUTORS: [{ EXECUTOR: 'local', NAME: 'here', BUILD_ENGINE: 'dummy' }],
    },
  ];

  test('whose database, Redis and storage are there is well', async () => {
    const redis = new URL(process.env.SLIPWAY_TEST_REDIS ?? '');
    const file = await configured({
      DB_URI: process.env.SLIPWAY_TEST_POSTGRES,
      BUILD_MANAGER: manager({ REDIS_HOST: redis.hostname, REDIS_PORT: Number(redis.port) }),
    });
    const { status, missing, findings } = await doctor(['--config', file]);
    expect({ status, missing }).toEqual({ status: 0, missing: {} });
    const names = findings.map(({ name }) => name);
    for (const name of ['database', 'redis', 'storage of uploads', 'storage of logs', 'executor here'])
      expect(names).toContain(name);
  });

  test('whose database and Redis do not answer says so without their passwords', async () => {
    const closed = await freePort('127.0.0.1');
    const storage = join(folder, 'a-file');
    await writeFile(storage, '');
    const file = await configured({
      DB_URI: `postgresql://slipway:hunter2@127.0.0.1:${closed}/slipway`,
      BUILD_MANAGER: manager({ REDIS_HOST: '127.0.0.1', REDIS_PORT: closed, REDIS_PASSWORD: 'hunter3' }),
      DISTRIBUTED_STORAGE_CONFIG: { default: ['LocalStorage', { storage_path: storage }] },
    });
    const { status, missing, output } = await doctor(['--config', file]);
    expect(status).toBe(1);
    expect(missing).toMatchObject({
      database: { mend: `psql -h 127.0.0.1 -p ${closed} -U slipway -d slipway -c 'select 1'` },
      redis: { mend: `redis-cli -h 127.0.0.1 -p ${closed} ping` },
      'storage of uploads': { what: expect.stringContaining('cannot be used') },
    });
    expect(output).not.toMatch(/hunter/);
  });

  test('that is faulty is named with where to look', async () => {
    const file = await configured({ BUILD_MANAGER: ['nothing', {}] });
    const { status, missing } = await doctor(['--config', file]);
    expect(status).toBe(1);
    expect(missing).toMatchObject({ configuration: { mend: `slipway config check ${file}` } });
  });
});
