import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { processesOf, SlipwayServer, until } from '../harness/slipway-server.ts';
import {
  askForBuild,
  dockerfile,
  enginesOf,
  registryOf,
  ticking,
  ticksIn,
  untilNothingLeft,
  workersOf,
} from './fault-build.ts';

/** What waits about a minute before it gives up; all of it waits at the same time. */
describe.concurrent('patience', () => {
  test('a server that never comes back: its registry ends at once, its worker after a minute', async ({
    onTestFinished,
  }) => {
    const server = await SlipwayServer.start([]);
    onTestFinished(() => server.dispose());
    const build = await askForBuild(server, dockerfile(ticking(10_000, 100)));
    await until('the step to run', async () => ticksIn(await build.log()).length === 1);
    const registry = await registryOf(server.data);
    expect(registry).toBeGreaterThan(0);
    const killed = performance.now();
    await server.kill('SIGKILL');
    await until('the registry to be gone', async () => (await registryOf(server.data)) === undefined, 2);
    const [worker] = await workersOf(server.data);
    expect(worker?.pid).toBeGreaterThan(0);
    await until('the worker to give up', async () => (await workersOf(server.data)).length === 0, 75);
    const seconds = (performance.now() - killed) / 1000;
    // It waits a minute from the last answer it had, for a server that may come back.
    expect(seconds).toBeGreaterThan(50);
    expect(seconds).toBeLessThan(66);
    await until('no process to be left', async () => (await processesOf(server.data)).length === 0, 3);
    // What it worked with is gone; its folder, with its own messages, is there for the next life of the server.
    const [attempt] = (await readdir(join(server.data, 'workers'))).filter((name) => name !== 'home');
    const folder = join(server.data, 'workers', attempt ?? '');
    expect((await readdir(join(folder, 'work'))).concat(await readdir(join(folder, 'tmp')))).toEqual([]);
  });

  test('a worker that stands still is given up after a minute of silence', async ({ onTestFinished }) => {
    const server = await SlipwayServer.start(['--retry-delay', '0']);
    onTestFinished(() => server.dispose());
    const build = await askForBuild(server, dockerfile(ticking(150, 20)));
    await until('the step to run', async () => ticksIn(await build.log()).length === 1);
    const [worker] = await workersOf(server.data);
    const stopped = performance.now();
    process.kill(worker?.pid ?? 0, 'SIGSTOP');
    const view = await until(
      'the attempt to expire',
      async () => {
        const now = await build.view();
        return now.attempts[0]?.outcome !== null && now;
      },
      75,
    );
    expect(performance.now() - stopped).toBeGreaterThan(55_000);
    expect(view.attempts[0]).toMatchObject({
      outcome: 'expired',
      error_code: 'workerlost',
      error: expect.stringMatching(/stopped answering while the build was building.*60 s/),
    });
    const end = await build.ends();
    expect(end).toMatchObject({ phase: 'complete', attempts: [{}, { outcome: 'complete' }] });
    await untilNothingLeft(server.data);
  });

  test('a registry that never comes back: tried again with back-off, then an error that names it', async ({
    onTestFinished,
  }) => {
    const server = await SlipwayServer.start(['--retry-delay', '0']);
    onTestFinished(() => server.dispose());
    const build = await askForBuild(server, dockerfile(ticking(50, 20)));
    // Two of its three tries are used up in another way, so that the third one's end is the build's.
    for (const epoch of [1, 2]) {
      await until('the step to run', async () => ticksIn(await build.log()).length === epoch);
      for (const { pid } of await workersOf(server.data)) process.kill(pid, 'SIGKILL');
    }
    await until('the step to run', async () => ticksIn(await build.log()).length === 3);
    await writeFile(join(server.data, 'registry/config.yml'), 'this is no configuration');
    process.kill((await registryOf(server.data)) ?? 0, 'SIGKILL');
    const view = await build.ends(110);
    expect(view).toMatchObject({ phase: 'internalerror', error_code: 'pushissue', digest: null });
    expect(view.error).toContain(server.host);
    expect(view.error).toMatch(/tried 6 times/);
    const waits = (await build.log()).flatMap(({ message }) => {
      const found = /trying again in (\d+\.\d) s \((\d) of 6\)/.exec(message);
      return found === null ? [] : [{ wait: Number(found[1]), tried: Number(found[2]) }];
    });
    expect(waits.map(({ tried }) => tried)).toEqual([1, 2, 3, 4, 5]);
    for (const { wait, tried } of waits) expect(wait).toBeGreaterThanOrEqual(Math.min(10, 2 ** (tried - 1)));
    // Nobody can answer for the registry now, and the server says so; everything else works on.
    const health = await server.fetch('/health/instance');
    expect(health.status).toBe(503);
    expect(await health.text()).toMatch(/registry/);
    expect(await enginesOf(server.data)).toEqual([]);
    await untilNothingLeft(server.data);
  });
});
