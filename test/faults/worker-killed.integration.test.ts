import { afterAll, beforeAll, expect, test } from 'vitest';
import { imageDigest } from '../harness/build-client.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import {
  askForBuild,
  dockerfile,
  enginesOf,
  type FaultBuild,
  ticking,
  ticksIn,
  untilNothingLeft,
  upTo,
  workersOf,
} from './fault-build.ts';

/** `kill -9` of a worker or of its engine, while the server lives. */
let server: SlipwayServer;

beforeAll(async () => {
  server = await SlipwayServer.start(['--retry-delay', '0']);
});

afterAll(async () => {
  await server?.dispose();
});

/** Kills the worker of an attempt once its step runs; the milliseconds until the server shows that it knows. */
async function killWorker(build: FaultBuild, epoch: number): Promise<number> {
  await build.reaches('building', epoch);
  await until('the step to run', async () => ticksIn(await build.log()).length === epoch);
  const [worker, ...others] = await workersOf(server.data);
  expect(others).toEqual([]);
  const killed = performance.now();
  process.kill(worker?.pid ?? 0, 'SIGKILL');
  await until(
    'the end of the attempt',
    async () => (await build.view()).attempts[epoch - 1]?.outcome !== null,
  );
  const seen = performance.now() - killed;
  await until('the engine and its step to be gone', async () => {
    const current = (await workersOf(server.data)).map(({ pid }) => pid);
    return !current.includes(worker?.pid ?? 0);
  });
  return seen;
}

test('a killed worker is seen within 2 s, its step ends with it, and the build is tried again', async () => {
  const build = await askForBuild(server, dockerfile(ticking(120, 20)));
  const seen = await killWorker(build, 1);
  expect(seen).toBeLessThan(2000);
  const view = await build.ends();
  expect(view).toMatchObject({
    phase: 'complete',
    attempts: [
      {
        epoch: 1,
        outcome: 'internal-error',
        error_code: 'workerlost',
        error: expect.stringContaining('SIGKILL'),
      },
      { epoch: 2, outcome: 'complete' },
    ],
  });
  expect(await imageDigest(server, `${build.repository}:latest`)).toBe(view.digest);
  const log = await build.log();
  const [first, second, ...more] = ticksIn(log);
  expect(more).toEqual([]);
  expect(first?.numbers).toEqual(upTo(first?.numbers.length ?? 0));
  expect(first?.numbers.length).toBeLessThan(120);
  expect(second?.numbers).toEqual(upTo(120));
  expect(second?.first).toBeGreaterThan(first?.last ?? 0);
  // The log tells of the loss between the two runs, with what comes next.
  const told = log.findIndex(({ type, data }) => type === 'error' && data?.code === 'workerlost');
  expect(log[told]?.message).toMatch(/was ended by signal SIGKILL.*starts again at once \(2 tries left\)/s);
  expect(told).toBeGreaterThan(log.findLastIndex(({ message }) => message.startsWith(`tick ${first?.run}`)));
  expect(told).toBeLessThan(log.findIndex(({ message }) => message.startsWith(`tick ${second?.run}`)));
  await untilNothingLeft(server.data);
});

test('a worker killed at every try ends the build, and says what happened', async () => {
  const build = await askForBuild(server, dockerfile(ticking(500, 20)));
  for (const epoch of [1, 2, 3]) expect(await killWorker(build, epoch)).toBeLessThan(2000);
  const view = await build.ends(5);
  expect(['internalerror', 'expired']).toContain(view.phase);
  expect(view.error_code).toBe('workerlost');
  expect(view.error).toMatch(/lost while the build was building.*signal SIGKILL/);
  expect(view.attempts.map(({ outcome, error_code }) => [outcome, error_code])).toEqual(
    [1, 2, 3].map(() => ['internal-error', 'workerlost']),
  );
  const log = await build.log();
  expect(ticksIn(log)).toHaveLength(3);
  expect(log.filter(({ type, data }) => type === 'error' && data?.code === 'workerlost')).toHaveLength(3);
  expect(log.at(-1)).toMatchObject({ type: 'phase', message: view.phase });
  await untilNothingLeft(server.data);
});

test('a killed engine: its worker says so, and the build is tried again', async () => {
  const build = await askForBuild(server, dockerfile(ticking(120, 20)));
  await until('the step to run', async () => ticksIn(await build.log()).length === 1);
  const engines = await enginesOf(server.data);
  expect(engines.length).toBeGreaterThan(0);
  for (const pid of engines) process.kill(pid, 'SIGKILL');
  const view = await build.ends();
  expect(view).toMatchObject({
    phase: 'complete',
    attempts: [
      {
        outcome: 'internal-error',
        error_code: 'enginefailed',
        error: expect.stringMatching(/killed from outside/),
      },
      { outcome: 'complete' },
    ],
  });
  expect(ticksIn(await build.log()).at(-1)?.numbers).toEqual(upTo(120));
  await untilNothingLeft(server.data);
});
