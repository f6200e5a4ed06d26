import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { controlGroupParent } from './control-group.ts';
import { executorSuite, orderFor, untilGone } from './executor.suite.ts';
import { LimitedExecutor } from './limited-executor.ts';
import { LocalExecutor, type LocalExecutorOptions } from './local-executor.ts';
import { processesMarked } from './process-table.ts';
import { attemptMarker } from './worker-environment.ts';

/** A worker that does what its token says, and writes down what it was given. */
const script = `
const { readFileSync, writeFileSync, appendFileSync } = require('node:fs');
const { spawn } = require('node:child_process');
const token = process.env.TOKEN ?? readFileSync(0, 'utf8');
console.log('worker says ' + token);
writeFileSync('given.json', JSON.stringify({ token, env: process.env, cwd: process.cwd(), uid: process.getuid() }));
if (token === 'exit-7') process.exit(7);
if (token === 'stubborn') process.on('SIGTERM', () => {});
if (token === 'family') {
  const grandchild = 'setInterval(() => {}, 1000); process.on("SIGTERM", () => {})';
  spawn(process.execPath, ['-e', grandchild], { stdio: 'ignore' });
  spawn(process.execPath, ['-e', grandchild], { stdio: 'ignore', detached: true, cwd: '/', env: {} }).unref();
}
setInterval(() => {}, 1000);
writeFileSync('ready', '');
`;

const never = new AbortController().signal;

function place() {
  const root = mkdtempSync(join(tmpdir(), 'slipway-local-'));
  const worker = join(root, 'worker.cjs');
  writeFileSync(worker, script);
  const options: LocalExecutorOptions = {
    command: [process.execPath, worker],
    environment: { PATH: '/usr/bin:/bin', BUILD_ENGINE: 'dummy', BUILDAH_ISOLATION: 'chroot' },
    workersFolder: join(root, 'workers'),
    recordsFolder: join(root, 'run', 'workers'),
    token: 'stdin',
    clock: systemClock,
    grace: 500,
  };
  return {
    root,
    options,
    folder: (attemptId: string) => join(root, 'workers', attemptId),
    assertNothingLeft: async () => {
      expect(readdirSync(join(root, 'workers'))).toEqual([]);
      expect(readdirSync(join(root, 'run', 'workers'))).toEqual([]);
      expect(processesMarked(join(root, 'workers'), 'SLIPWAY_ATTEMPT=none')).toEqual([]);
    },
    [Symbol.asyncDispose]: async () => {
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function appears(path: string): Promise<void> {
  await expect
    .poll(
      () =>
        stat(path)
          .then(() => true)
          .catch(() => false),
      { timeout: 10_000 },
    )
    .toBe(true);
}

function pidOf(root: string, attemptId: string): number {
  return JSON.parse(readFileSync(join(root, 'run', 'workers', `${attemptId}.json`), 'utf8')).pid;
}

/** A worker that is not ours, in another language: it knows its environment only. */
const foreignScript = `#!/bin/sh
echo "another worker says $TOKEN"
env > given.env
case $TOKEN in
  exit-7) exit 7 ;;
esac
: > ready
while :; do sleep 1; done
`;

describe('popen executor', () => {
  const popen = () => {
    const here = place();
    const binary = join(here.root, 'quay-builder');
    writeFileSync(binary, foreignScript, { mode: 0o755 });
    const options: LocalExecutorOptions = {
      ...here.options,
      type: 'popen',
      command: [binary],
      token: 'environment',
    };
    return { ...here, options };
  };

  executorSuite(async () => {
    const here = popen();
    const executor = new LimitedExecutor(new LocalExecutor(here.options), 3);
    const broken = new LocalExecutor({ ...here.options, command: [join(here.root, 'absent')] });
    return {
      executor,
      broken,
      assertNothingLeft: here.assertNothingLeft,
      [Symbol.asyncDispose]: async () => {
        for (const { worker } of await executor.running()) await executor.stop(worker, never);
        await executor.close();
        await broken.close();
        await here[Symbol.asyncDispose]();
      },
    };
  });

  test('gives a worker that knows its environment only all it needs there, and keeps what it said', async () => {
    await using here = popen();
    const executor = new LocalExecutor(here.options);
    const order = orderFor('run');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    const folder = here.folder(order.attemptId);
    await appears(join(folder, 'ready'));
    const given = Object.fromEntries(
      (await readFile(join(folder, 'given.env'), 'utf8'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    expect(given).toMatchObject({
      TOKEN: 'run',
      SERVER: order.server,
      BUILD_UUID: order.buildId,
      REGISTRY_HOSTNAME: order.registryHost,
      EXECUTOR: 'popen',
      BULDAH_ISOLATION: 'chroot',
    });
    process.kill(pidOf(here.root, order.attemptId), 'SIGKILL');
    expect(await gone).toMatchObject({ signal: 'SIGKILL', output: 'another worker says run' });
    await executor.stop(worker, never);
    await here.assertNothingLeft();
    await executor.close();
  });

  test('a token that a worker printed is not kept with what it said', async () => {
    await using here = popen();
    writeFileSync(here.options.command[0], '#!/bin/sh\necho "my token is $TOKEN!"\n');
    const executor = new LocalExecutor(here.options);
    const order = orderFor('eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    expect(await gone).toMatchObject({ output: 'my token is [token]!' });
    await executor.stop(worker, never);
    await executor.close();
  });
});

describe('local executor', () => {
  executorSuite(async () => {
    const here = place();
    const executor = new LimitedExecutor(new LocalExecutor(here.options), 3);
    const broken = new LocalExecutor({ ...here.options, command: [join(here.root, 'absent')] });
    return {
      executor,
      broken,
      assertNothingLeft: here.assertNothingLeft,
      [Symbol.asyncDispose]: async () => {
        for (const { worker } of await executor.running()) await executor.stop(worker, never);
        await executor.close();
        await broken.close();
        await here[Symbol.asyncDispose]();
      },
    };
  });

  test('gives a worker its order and nothing of the server', async () => {
    await using here = place();
    const executor = new LocalExecutor(here.options);
    const order = orderFor('run');
    const { worker } = await executor.start(order, never);
    await appears(join(here.folder(order.attemptId), 'ready'));
    const given = JSON.parse(await readFile(join(here.folder(order.attemptId), 'given.json'), 'utf8'));
    expect(given.token).toBe('run');
    expect(given.cwd).toBe(here.folder(order.attemptId));
    expect(Object.keys(given.env).sort()).toEqual([
      'BUILDAH_ISOLATION',
      'BUILD_ENGINE',
      'BUILD_UUID',
      'BULDAH_ISOLATION',
      'EXECUTOR',
      'INSECURE',
      'LANG',
      'PATH',
      'REGISTRY_HOSTNAME',
      'SERVER',
      'SLIPWAY_ATTEMPT',
      'SLIPWAY_WORKSPACE',
      'TMPDIR',
    ]);
    expect(given.env).toMatchObject({ SERVER: order.server, BUILD_UUID: order.buildId, INSECURE: 'true' });
    expect((await stat(here.folder(order.attemptId))).mode & 0o777).toBe(0o700);
    await executor.stop(worker, never);
    await here.assertNothingLeft();
    await executor.close();
  });

  test.runIf(process.getuid?.() === 0)('runs workers as another account, in no group of root’s', async () => {
    await using here = place();
    const { chmod } = await import('node:fs/promises');
    await chmod(here.root, 0o711);
    await chmod(join(here.root, 'worker.cjs'), 0o644);
    const executor = new LocalExecutor({ ...here.options, account: { uid: 64_123, gid: 64_124 } });
    const order = orderFor('run');
    const { worker } = await executor.start(order, never);
    const folder = here.folder(order.attemptId);
    await appears(join(folder, 'ready'));
    const status = await readFile(`/proc/${pidOf(here.root, order.attemptId)}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t64123\t64123\t64123\t64123$/m);
    expect(status).toMatch(/^Gid:\t64124\t64124\t64124\t64124$/m);
    expect(/^Groups:\t(.*)$/m.exec(status)?.[1]?.trim()).toBe('');
    expect(await stat(folder)).toMatchObject({ uid: 64_123, gid: 64_124 });
    await executor.stop(worker, never);
    await here.assertNothingLeft();
    await executor.close();
  });

  test('kill -9 of a worker is told of within 2 s, and leaves no zombie', async () => {
    await using here = place();
    const executor = new LocalExecutor(here.options);
    const order = orderFor('run');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    await appears(join(here.folder(order.attemptId), 'ready'));
    const pid = pidOf(here.root, order.attemptId);
    const killedAt = Date.now();
    process.kill(pid, 'SIGKILL');
    expect(await gone).toMatchObject({ kind: 'gone', signal: 'SIGKILL', output: 'worker says run' });
    expect(Date.now() - killedAt).toBeLessThan(2000);
    expect(() => process.kill(pid, 0)).toThrow();
    await executor.stop(worker, never);
    await here.assertNothingLeft();
    await executor.close();
  });

  test('a worker that ignores the wish to end is forced', async () => {
    await using here = place();
    const executor = new LocalExecutor(here.options);
    const order = orderFor('stubborn');
    const { worker } = await executor.start(order, never);
    await appears(join(here.folder(order.attemptId), 'ready'));
    await executor.stop(worker, never);
    expect(await executor.status(worker)).toMatchObject({ signal: 'SIGKILL' });
    await here.assertNothingLeft();
    await executor.close();
  });

  test.each([true, false])('stopping ends grandchildren (control groups: %s)', async (controlGroups) => {
    await using here = place();
    const parent = controlGroupParent();
    const executor = new LocalExecutor({ ...here.options, controlGroups });
    const order = orderFor('family');
    const { worker } = await executor.start(order, never);
    await appears(join(here.folder(order.attemptId), 'ready'));
    const group = parent === undefined ? undefined : join(parent, `slipway-${order.attemptId}`);
    const members =
      controlGroups && group !== undefined
        ? readFileSync(join(group, 'cgroup.procs'), 'utf8').trim().split('\n')
        : [];
    const marked = processesMarked(here.folder(order.attemptId), attemptMarker(order.attemptId));
    expect(marked.length).toBeGreaterThanOrEqual(2);
    await executor.stop(worker, never);
    await expect.poll(() => [...marked, ...members.map(Number)].filter(exists)).toEqual([]);
    // The one that left session, folder and environment is found only by its control group.
    if (controlGroups && group !== undefined) {
      expect(members).toHaveLength(3);
      await expect(stat(group)).rejects.toMatchObject({ code: 'ENOENT' });
    } else {
      for (const pid of strays()) process.kill(pid, 'SIGKILL');
    }
    await here.assertNothingLeft();
    await executor.close();
  });

  test('a second life finds the worker, watches it, and tells of its death within 2 s', async () => {
    await using here = place();
    const first = new LocalExecutor(here.options);
    const order = orderFor('run');
    const { worker } = await first.start(order, never);
    await appears(join(here.folder(order.attemptId), 'ready'));
    await first.close();

    const second = new LocalExecutor(here.options);
    await second.adopt(async () => true);
    expect(await second.status(worker)).toEqual({ kind: 'running' });
    expect(await second.start(order, never)).toEqual({ worker });
    const gone = untilGone(second, order.attemptId);
    const killedAt = Date.now();
    process.kill(pidOf(here.root, order.attemptId), 'SIGKILL');
    expect(await gone).toMatchObject({ kind: 'gone', output: 'worker says run' });
    expect(Date.now() - killedAt).toBeLessThan(2000);
    await second.stop(worker, never);
    await here.assertNothingLeft();
    await second.close();
  });

  test('a second life ends the workers nobody wants, and removes what they left', async () => {
    await using here = place();
    const first = new LocalExecutor(here.options);
    const unwanted = orderFor('family');
    const lost = orderFor('run');
    await first.start(unwanted, never);
    await first.start(lost, never);
    for (const { attemptId } of [unwanted, lost]) await appears(join(here.folder(attemptId), 'ready'));
    const pid = pidOf(here.root, unwanted.attemptId);
    const lostPid = pidOf(here.root, lost.attemptId);
    await first.close();
    await rm(join(here.root, 'run', 'workers', `${lost.attemptId}.json`));
    writeFileSync(join(here.root, 'run', 'workers', 'torn.json'), '{"attemptId":');

    const second = new LocalExecutor(here.options);
    await second.adopt(async () => false);
    expect(await second.running()).toEqual([]);
    await expect.poll(() => [pid, lostPid].filter(exists)).toEqual([]);
    await here.assertNothingLeft();
    await second.close();
  });

  test('a second life ends many that do not want to end in the time of one', async () => {
    await using here = place();
    const options = { ...here.options, grace: 1_500 };
    const first = new LocalExecutor(options);
    const orders = Array.from({ length: 4 }, () => orderFor('stubborn'));
    for (const order of orders) await first.start(order, never);
    for (const { attemptId } of orders) await appears(join(here.folder(attemptId), 'ready'));
    const pids = orders.map(({ attemptId }) => pidOf(here.root, attemptId));
    await first.close();
    const second = new LocalExecutor(options);
    const begun = performance.now();
    await second.adopt(async () => false);
    // One after the other they would need six seconds.
    expect(performance.now() - begun).toBeLessThan(4_500);
    expect(pids.filter(exists)).toEqual([]);
    await here.assertNothingLeft();
    await second.close();
  });

  test('a record of an earlier boot is no running worker', async () => {
    await using here = place();
    const executor = new LocalExecutor(here.options);
    const order = orderFor('run');
    const record = {
      attemptId: order.attemptId,
      pid: process.pid,
      startTime: '1',
      bootId: 'another',
      startedAt: 1,
    };
    writeFileSync(join(here.root, 'run', 'workers', `${order.attemptId}.json`), JSON.stringify(record));
    const gone = untilGone(executor, order.attemptId);
    await executor.adopt(async () => true);
    expect(await gone).toMatchObject({ kind: 'gone' });
    await executor.stop(`${(await import('node:os')).hostname()}:${order.attemptId}`, never);
    await here.assertNothingLeft();
    await executor.close();
  });
});

function exists(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

/** The stray grandchildren of these tests: node processes of this very command line. */
function strays(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(
          'setInterval(() => {}, 1000); process.on("SIGTERM"',
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}
