import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManagerServer } from '../../test/fakes/manager-server.ts';
import { logText, type MemoryAttempt } from '../../test/fakes/memory-sessions.ts';
import { systemClock } from '../base/clock.ts';
import { type BuildPack, JobUnstartable } from '../manager/worker-sessions.ts';
import { ManagerLink, type ManagerLinkOptions } from '../rpc/manager-link.ts';
import { type AgentResult, runAgent } from './agent.ts';
import { DummyEngine } from './engine/dummy.ts';
import { Workspace } from './workspace.ts';

let manager: ManagerServer;
let packages: Server;
let folder: string;
let dockerfile = '';

beforeEach(async () => {
  manager = await ManagerServer.start();
  folder = await mkdtemp(join(tmpdir(), 'agent-test-'));
  packages = createServer((_request, response) => {
    response.setHeader('content-type', 'text/plain');
    response.end(dockerfile);
  });
  await new Promise<void>((resolve) => packages.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  packages.close();
  await manager.stop(0);
  const left = await readdir(folder);
  await rm(folder, { recursive: true });
  expect(left).toEqual([]);
});

function attempt(lines: readonly string[], pack: Partial<Omit<BuildPack, 'identity'>> = {}): MemoryAttempt {
  dockerfile = ['FROM scratch', ...lines, ''].join('\n');
  const bound = packages.address();
  const port = typeof bound === 'object' ? bound?.port : undefined;
  const url = `http://127.0.0.1:${port}/package`;
  return manager.sessions.add({ source: { kind: 'package', url, ours: true }, push: false, ...pack });
}

interface Run {
  readonly result: Promise<AgentResult>;
  readonly stop: AbortController;
}

function start(token: string, options: Partial<ManagerLinkOptions> = {}): Run {
  const stop = new AbortController();
  const link = new ManagerLink({
    server: manager.address,
    clock: systemClock,
    log: () => {},
    heartbeatEvery: 100,
    ...options,
  });
  const result = runAgent(
    {
      link,
      registrationToken: token,
      capabilities: {
        version: '1',
        logBatches: true,
        pushesByDigest: true,
        engine: 'dummy',
        platform: 'linux/amd64',
      },
      loadEngine: async () => new DummyEngine({ clock: systemClock }),
      makeWorkspace: () => Workspace.create(undefined, folder),
      keepWorkspace: false,
      clock: systemClock,
      log: () => {},
    },
    stop.signal,
  );
  return { result, stop };
}

async function run(added: MemoryAttempt): Promise<AgentResult> {
  return await start(await manager.registrationToken(added.identity)).result;
}

const stagesOf = (added: MemoryAttempt) =>
  added.reports.map((report) => (report.kind === 'stage' ? report.stage : report.kind));

describe('a build', () => {
  test('goes from registration to complete, with its log in front of the end', async () => {
    const added = attempt(['#dummy print hello', '#dummy lines 1000 100']);
    expect(await run(added)).toEqual({ registered: true, end: { kind: 'complete' } });
    expect(added.capabilities).toMatchObject({ pushesByDigest: true, engine: 'dummy' });
    expect(stagesOf(added)).toEqual(['unpacking', 'pulling', 'building', 'complete']);
    expect(added.heartbeats).toBeGreaterThan(0);
    const lines = logText(added).split('\n');
    expect(lines).toContain('hello');
    expect(lines.filter((line) => line.length === 99)).toHaveLength(1000);
  });

  test('that fails is reported with code, message and owner', async () => {
    const added = attempt(['#dummy fail builderror the step went wrong']);
    const result = await run(added);
    expect(result.end).toMatchObject({ kind: 'failed', owner: 'user', fault: { code: 'builderror' } });
    expect(added.reports.at(-1)).toMatchObject({
      kind: 'error',
      owner: 'user',
      fault: { code: 'builderror' },
    });
    expect(JSON.stringify(added.reports.at(-1))).toContain('the step went wrong');
  });

  test.each([
    [
      'a source that cannot be fetched',
      { source: { kind: 'package', url: 'http://127.0.0.1:1/', ours: false } },
      'archivefetch',
    ],
    ['a Dockerfile that is not there', { dockerfilePath: 'Elsewhere' }, 'dockerfilemissing'],
    ['a Dockerfile out of the source', { dockerfilePath: '../../etc/passwd' }, 'dockerfilemissing'],
    ['a context that is not there', { context: '/nowhere' }, 'contextmissing'],
  ] as const)('with %s fails for the user', async (_name, pack, code) => {
    const result = await run(attempt([], pack));
    expect(result.end).toMatchObject({ kind: 'failed', owner: 'user', fault: { code } });
  });

  test('that takes too long is stopped and says so', async () => {
    const added = attempt(['#dummy hang'], { maxSeconds: 1 });
    const result = await run(added);
    expect(result.end).toMatchObject({ kind: 'failed', owner: 'user', fault: { code: 'toolong' } });
    expect(stagesOf(added).at(-1)).toBe('error');
  });

  test('shows none of its secrets', async () => {
    const added = attempt(['#dummy print a the-push-token b s3cr3t-value c'], {
      secrets: [{ id: '../weird id', value: Buffer.from('s3cr3t-value') }],
    });
    await run(added);
    expect(logText(added)).toContain('a *** b *** c\n');
  });

  test('names no secret in what it reports', async () => {
    const added = attempt(['#dummy fail builderror the step with s3cr3t-value went wrong'], {
      secrets: [{ id: 'one', value: Buffer.from('s3cr3t-value') }],
    });
    await run(added);
    expect(JSON.stringify(added.reports.at(-1))).toContain('the step with *** went wrong');
    expect(JSON.stringify(added.reports)).not.toContain('s3cr3t-value');
  });

  test('loses no byte of what an engine writes', async () => {
    const added = attempt(['#dummy garbage 300000', '#dummy print end']);
    await run(added);
    expect(logText(added).length).toBeGreaterThan(300_000);
    expect(added.log.some(({ partial }) => partial === true)).toBe(true);
    expect(logText(added)).toContain('end\n');
  });
});

describe('a manager', () => {
  test('that restarts finds the worker again, and the log has no gap', async () => {
    const added = attempt([
      '#dummy print one',
      '#dummy sleep 300',
      '#dummy lines 5000 100',
      '#dummy sleep 300',
    ]);
    const { result } = start(await manager.registrationToken(added.identity));
    await manager.sessions.until(() => stagesOf(added).includes('building'));
    await manager.stop(0);
    await systemClock.sleep(100);
    await manager.listen();
    expect((await result).end).toEqual({ kind: 'complete' });
    const lines = logText(added)
      .split('\n')
      .filter((line) => line.length === 99);
    expect(lines).toHaveLength(5000);
    expect(new Set(lines).size).toBe(5000);
    expect([...lines].sort((a, b) => Number(a.split(' ')[1]) - Number(b.split(' ')[1]))).toEqual(lines);
  });

  test('that stays away is given up, and the worker cleans up', async () => {
    const added = attempt(['#dummy hang']);
    const { result } = start(await manager.registrationToken(added.identity), { giveUpAfter: 500 });
    await manager.sessions.until(() => stagesOf(added).includes('building'));
    await manager.stop(0);
    expect((await result).end).toMatchObject({ kind: 'released', reason: { code: 'unreachable' } });
  });

  test('that cancels is heard before the next heartbeat', async () => {
    const added = attempt(['#dummy hang']);
    const token = await manager.registrationToken(added.identity);
    const { result } = start(token, { heartbeatEvery: 60_000, giveUpAfter: 300_000 });
    await manager.sessions.until(() => stagesOf(added).includes('building') && added.heartbeats > 0);
    manager.sessions.cancel(added);
    expect((await result).end).toMatchObject({ kind: 'released', reason: { code: 'cancelled' } });
    expect(added.heartbeats).toBe(1);
  });

  test('that counts the attempt as lost stops the worker after three heartbeats', async () => {
    const added = attempt(['#dummy hang']);
    const { result } = start(await manager.registrationToken(added.identity));
    await manager.sessions.until(() => stagesOf(added).includes('building'));
    added.alive = false;
    expect((await result).end).toMatchObject({ kind: 'released', reason: { code: 'refused' } });
  });

  test('that gave the attempt a new epoch stops the worker at once', async () => {
    const added = attempt(['#dummy hang']);
    const { result } = start(await manager.registrationToken(added.identity));
    await manager.sessions.until(() => stagesOf(added).includes('building'));
    (added.identity as { epoch: number }).epoch = 2;
    expect((await result).end).toMatchObject({ kind: 'released', reason: { code: 'refused' } });
    expect(stagesOf(added)).not.toContain('error');
  });

  test('that is nowhere is given up before anything was done', async () => {
    const token = await manager.registrationToken(attempt([]).identity);
    const { result } = start(token, { server: '127.0.0.1:1', giveUpAfter: 300 });
    expect(await result).toMatchObject({
      registered: false,
      end: { kind: 'released', reason: { code: 'unreachable' } },
    });
  });

  test('that refuses the token, or cannot start the job, ends the worker', async () => {
    expect((await start('no token').result).end).toMatchObject({ reason: { code: 'refused' } });
    manager.sessions.registerFailure = new JobUnstartable('no');
    expect((await run(attempt([]))).end).toMatchObject({ reason: { code: 'not-started' } });
  });
});

test('a slow manager slows the build instead of filling memory', async () => {
  const added = attempt(['#dummy lines 200000 100']);
  let held = true;
  manager.sessions.beforeLog = async () => {
    while (held) await systemClock.sleep(5);
  };
  const { result } = start(await manager.registrationToken(added.identity), { logBuffer: 1024 * 1024 });
  await manager.sessions.until(() => added.heartbeats > 5);
  expect(added.log).toEqual([]);
  held = false;
  expect((await result).end).toEqual({ kind: 'complete' });
  expect(
    logText(added)
      .split('\n')
      .filter((line) => line.length === 99),
  ).toHaveLength(200_000);
});

test('a signal stops the build, reports nothing and cleans up', async () => {
  const added = attempt(['#dummy hang']);
  const { result, stop } = start(await manager.registrationToken(added.identity));
  await manager.sessions.until(() => stagesOf(added).includes('building'));
  stop.abort();
  expect((await result).end).toEqual({ kind: 'stopped' });
  expect(stagesOf(added)).toEqual(['unpacking', 'pulling', 'building']);
});
