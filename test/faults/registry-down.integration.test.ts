import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { imageDigest } from '../harness/build-client.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import { askForBuild, dockerfile, registryOf, ticking, ticksIn, untilNothingLeft } from './fault-build.ts';

/** The registry's process dies or stands still while an image is pushed, and comes back. */
let server: SlipwayServer;

beforeAll(async () => {
  server = await SlipwayServer.start(['--retry-delay', '0']);
});

afterAll(async () => {
  await server?.dispose();
});

const large = '/busybox dd if=/dev/urandom of=/big bs=1M count=24 2>/dev/null';

test('killed again and again during the push: the build completes', async () => {
  const build = await askForBuild(server, dockerfile(ticking(20, 10), large));
  await build.reaches('pushing');
  const killed = new Set<number>();
  await until('the registry to have died four times', async () => {
    const registry = await registryOf(server.data);
    if (registry === undefined || killed.has(registry)) return false;
    process.kill(registry, 'SIGKILL');
    killed.add(registry);
    return killed.size === 4;
  });
  const view = await build.ends();
  expect(view, view.error ?? '').toMatchObject({ phase: 'complete', attempts: [{ outcome: 'complete' }] });
  expect(await imageDigest(server, `${build.repository}:latest`)).toBe(view.digest);
  await untilNothingLeft(server.data);
});

test('away for some seconds: the push is tried again in the same attempt', async () => {
  const config = join(server.data, 'registry/config.yml');
  const text = await readFile(config);
  const build = await askForBuild(server, dockerfile(ticking(50, 20), large));
  await until('the step to run', async () => ticksIn(await build.log()).length === 1);
  await writeFile(config, 'this is no configuration');
  process.kill((await registryOf(server.data)) ?? 0, 'SIGKILL');
  await build.says(/The push to \S+ failed; trying again in/);
  await writeFile(config, text);
  const view = await build.ends();
  expect(view, view.error ?? '').toMatchObject({ phase: 'complete', attempts: [{ outcome: 'complete' }] });
  expect(await imageDigest(server, `${build.repository}:latest`)).toBe(view.digest);
  await untilNothingLeft(server.data);
});

test('standing still for some seconds: the push waits', async () => {
  const build = await askForBuild(server, dockerfile(ticking(50, 20), large));
  await until('the step to run', async () => ticksIn(await build.log()).length === 1);
  const registry = (await registryOf(server.data)) ?? 0;
  process.kill(registry, 'SIGSTOP');
  await build.reaches('pushing');
  setTimeout(() => process.kill(registry, 'SIGCONT'), 3000);
  const view = await build.ends();
  expect(view, view.error ?? '').toMatchObject({ phase: 'complete', attempts: [{ outcome: 'complete' }] });
  expect(await imageDigest(server, `${build.repository}:latest`)).toBe(view.digest);
  await untilNothingLeft(server.data);
});
