import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { freePort } from '../../src/bin/free-port.ts';
import { cordonExecutor, listExecutors, testExecutor } from '../../src/cli/executor.ts';
import { login } from '../../src/cli/login.ts';
import { MemoryTerminal } from '../fakes/memory-terminal.ts';
import { workersOf } from '../faults/fault-build.ts';
import { ServeProcess } from '../harness/serve-process.ts';
import { SlipwayServer } from '../harness/slipway-server.ts';

vi.setConfig({ testTimeout: 120_000 });

test('a real worker passes the test, and an executor stays cordoned when the server is restarted', async () => {
  const server = await SlipwayServer.start();
  try {
    const terminal = () => new MemoryTerminal({ server: server.url, token: server.token });
    const tested = terminal();
    expect(await testExecutor(tested.terminal, 'local', {})).toBe(0);
    expect(tested.printed.replace(/\d+\.\d s/g, 'T')).toBe(
      'ok      started       T\nok      registered    T\nok      stopped       T\n',
    );
    expect(await workersOf(server.data)).toEqual([]);
    await cordonExecutor(terminal().terminal, 'local', {});
    await server.kill('SIGKILL');
    await server.start();
    await expect
      .poll(
        async () => {
          const again = terminal();
          await listExecutors(again.terminal, {});
          return again.printed;
        },
        { timeout: 30_000 },
      )
      .toMatch(/^local +local +cordoned \(admin\)/m);
  } finally {
    await server.dispose();
  }
});

test('the test of an executor whose worker is not one says how it ended', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-popen-'));
  const port = await freePort('127.0.0.1');
  const secret = 'a secret of some length 0123456789';
  try {
    await using server = await ServeProcess.start({
      config: {
        SERVER_HOSTNAME: `127.0.0.1:${port}`,
        PREFERRED_URL_SCHEME: 'http',
        DB_URI: `sqlite:///${folder}/slipway.db`,
        DATABASE_SECRET_KEY: secret,
        SECRET_KEY: secret,
        DISTRIBUTED_STORAGE_CONFIG: { default: ['LocalStorage', { storage_path: join(folder, 'storage') }] },
        DISTRIBUTED_STORAGE_PREFERENCE: ['default'],
        BUILD_MANAGER: [
          'ephemeral',
          {
            ORCHESTRATOR: { MEM_ORCHESTRATOR: true },
            EXECUTORS: [
              { EXECUTOR: 'popen', NAME: 'wrong', BUILDER_BINARY_LOCATION: '/bin/false', MAX_WORKERS: 2 },
              { EXECUTOR: 'popen', NAME: 'absent', BUILDER_BINARY_LOCATION: '/nonexistent/worker' },
              { EXECUTOR: 'local', NAME: 'here', BUILD_ENGINE: 'dummy' },
            ],
          },
        ],
        SLIPWAY: { LISTEN: { ADDRESS: '127.0.0.1', PORT: port, GRPC_PORT: await freePort('127.0.0.1') } },
      },
    });
    const password = server.createUser('kim');
    const profileFile = join(folder, 'profile.json');
    const terminal = () => new MemoryTerminal({ server: `http://127.0.0.1:${port}`, profileFile });
    const signIn = terminal();
    signIn.typed.end(password);
    await login(signIn.terminal, { username: 'kim', passwordStdin: true, superuser: true });
    const wrong = terminal();
    expect(await testExecutor(wrong.terminal, 'wrong', {})).toBe(2);
    expect(wrong.printed).toMatch(
      /ok +started .*\nfailed +registered +It ended without having registered\. The worker process exited with status 1\.\nok +stopped/,
    );
    const absent = terminal();
    expect(await testExecutor(absent.terminal, 'absent', {})).toBe(2);
    expect(absent.printed).toMatch(/^failed +started +.*\/nonexistent\/worker.*ENOENT\n$/);
    const here = terminal();
    expect(await testExecutor(here.terminal, 'here', {})).toBe(0);
    const listed = terminal();
    await listExecutors(listed.terminal, {});
    expect(listed.printed).toMatch(/^wrong +popen +ready +0 of 2 .*\nabsent .*\nhere +local +ready/m);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
