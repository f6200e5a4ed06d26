import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CleanReport } from '../../src/worker/engine/engine.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import { askForBuild, dockerfile, enginesOf, ticking, ticksIn, upTo, workersOf } from './fault-build.ts';

const run = promisify(execFile);
const program = resolve(import.meta.dirname, '../../src/bin/keep-disk.ts');

/** What the server runs between builds to give the disk of the engine's store back. */
let server: SlipwayServer;

beforeAll(async () => {
  server = await SlipwayServer.start(['--retry-delay', '0']);
});

afterAll(async () => {
  await server?.dispose();
});

async function keepDisk(policy: { unusedFor: number; minimumFree: number }): Promise<CleanReport> {
  const home = join(server.data, 'workers/home');
  const { uid, gid } = await stat(home);
  const { stdout } = await run(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
    uid,
    gid,
    cwd: '/',
    env: {
      PATH: process.env.PATH,
      SLIPWAY_STATE_DIR: home,
      SLIPWAY_CLEAN_POLICY: JSON.stringify(policy),
    },
  });
  return JSON.parse(stdout) as CleanReport;
}

const layers = async (): Promise<number> =>
  (await readdir(join(server.data, 'workers/home/storage/overlay'))).filter((name) =>
    /^[0-9a-f]{64}$/.test(name),
  ).length;

const week = 7 * 24 * 3_600_000;

test('what a killed engine left, and images out of use, go; what is in use stays', async () => {
  const text = dockerfile('echo kept');
  expect((await (await askForBuild(server, text)).ends()).phase).toBe('complete');
  const lost = await askForBuild(server, dockerfile(ticking(100, 20)));
  await until('the step to run', async () => ticksIn(await lost.log()).length === 1);
  for (const { pid } of await workersOf(server.data)) process.kill(pid, 'SIGKILL');
  expect((await lost.ends()).phase).toBe('complete');
  const before = await layers();

  const first = await keepDisk({ unusedFor: week, minimumFree: 0 });
  expect(first).toMatchObject({ busy: false, removedImages: 0 });
  expect(first.removedLeftovers).toBeGreaterThan(0);
  const again = await askForBuild(server, text);
  expect((await again.ends()).phase).toBe('complete');
  expect((await again.log()).filter(({ message }) => message.includes('Using cache')).length).toBeGreaterThan(
    0,
  );

  const second = await keepDisk({ unusedFor: 0, minimumFree: 0 });
  expect(second.removedImages).toBeGreaterThan(1);
  expect(await layers()).toBe(0);
  expect(before).toBeGreaterThan(0);
  expect((await (await askForBuild(server, text)).ends()).phase).toBe('complete');
});

test('a build that runs is not disturbed', async () => {
  const build = await askForBuild(server, dockerfile(ticking(100, 20)));
  await until('the step to run', async () => ticksIn(await build.log()).length === 1);
  expect(await keepDisk({ unusedFor: 0, minimumFree: 1 })).toMatchObject({ busy: true, removedImages: 0 });
  expect(await enginesOf(server.data)).not.toEqual([]);
  expect(await build.ends()).toMatchObject({ phase: 'complete', attempts: [{ outcome: 'complete' }] });
  expect(ticksIn(await build.log()).map(({ numbers }) => numbers)).toEqual([upTo(100)]);
});
