import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import type { LocalExecutorConfig } from '../config/config.ts';
import { orderFor, untilGone } from '../executor/executor.suite.ts';
import { type DataFolder, openDataFolder } from '../setup/data-folder.ts';
import { composeExecutors } from './compose-executors.ts';
import { readEnvironment } from './environment.ts';

const never = new AbortController().signal;
let root: string;
let folder: DataFolder;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'slipway-popen-'));
  folder = await openDataFolder(join(root, 'data'));
});

afterAll(async () => {
  folder.release();
  await rm(root, { recursive: true, force: true });
});

test('a worker that is not ours gets its order, a home, what the entry says, and nothing of the server', async () => {
  const given = join(root, 'given.env');
  const binary = join(root, 'quay-builder');
  await writeFile(binary, `#!/bin/sh\nenv -0 > ${given}\ntouch "$HOME/kept"\n`, { mode: 0o755 });
  const entry: LocalExecutorConfig = {
    type: 'local',
    name: 'theirs',
    setupTime: 1000,
    rules: { minimumRetryThreshold: 0, cordoned: false },
    maxWorkers: undefined,
    debug: true,
    binary,
    buildEngine: 'auto',
    isolation: 'chroot',
    worker: {
      image: 'unused',
      tag: 'unused',
      imageCredentials: undefined,
      containerRuntime: 'podman',
      maxLifetime: 1000,
      sshAuthorizedKeys: [],
      volumeSize: '32G',
      caCert: 'OWN',
      extraCaCerts: ['EXTRA'],
      proxies: { HTTPS_PROXY: 'http://proxy:3128' },
    },
  };
  // Where a server has its secrets.
  process.env.AWS_SECRET_ACCESS_KEY = 'a-secret-of-the-server';
  process.env.SLIPWAY_TEST_SECRET = 'a-secret-of-the-server';
  const environment = { ...readEnvironment(), proxies: {}, worker: {} };
  const { entries } = await composeExecutors([entry], {
    environment,
    folder,
    workerEnvironment: { TLS_CERT_PATH: '/etc/ssl/own.pem' },
    site: 'builds.example.com',
    allowedWorkers: 1,
    clock: systemClock,
    logger: pino({ level: 'silent' }),
  });
  const [executor] = entries.map((each) => each.executor);
  if (executor === undefined) throw new Error('no executor was made');
  try {
    const order = orderFor('the-token');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    expect(await gone).toMatchObject({ exitCode: 0 });
    const variables = (await readFile(given, 'utf8')).split('\0').filter((line) => line !== '');
    const environmentOf = Object.fromEntries(
      variables.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    const home = join(folder.workers, 'home');
    // The shell's own.
    const { PWD: _, SHLVL: __, _: ___, OLDPWD: ____, ...rest } = environmentOf;
    expect(rest).toEqual({
      PATH: environment.path,
      LANG: 'C.UTF-8',
      HOME: home,
      TOKEN: 'the-token',
      SERVER: order.server,
      INSECURE: 'true',
      BUILD_UUID: order.buildId,
      REGISTRY_HOSTNAME: order.registryHost,
      EXECUTOR: 'theirs',
      CONTAINER_RUNTIME: 'podman',
      BUILDAH_ISOLATION: 'chroot',
      BULDAH_ISOLATION: 'chroot',
      CA_CERT: 'OWN\nEXTRA',
      TLS_CERT_PATH: '/etc/ssl/own.pem',
      HTTPS_PROXY: 'http://proxy:3128',
      DEBUG: 'true',
      TMPDIR: join(folder.workers, order.attemptId, 'tmp'),
      SLIPWAY_WORKSPACE: join(folder.workers, order.attemptId, 'work'),
      SLIPWAY_ATTEMPT: order.attemptId,
    });
    expect(await readFile(join(home, 'kept'), 'utf8')).toBe('');
    await executor.stop(worker, never);
  } finally {
    delete process.env.AWS_SECRET_ACCESS_KEY;
    delete process.env.SLIPWAY_TEST_SECRET;
    await executor.close();
  }
});
