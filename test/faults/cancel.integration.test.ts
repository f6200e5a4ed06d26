import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { imageDigest } from '../harness/build-client.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import {
  askForBuild,
  dockerfile,
  type FaultBuild,
  registryOf,
  ticking,
  untilNothingLeft,
  workersOf,
} from './fault-build.ts';

/** A person cancels, in every phase. */
let server: SlipwayServer;

beforeAll(async () => {
  server = await SlipwayServer.start([
    '--drain',
    '0',
    '--workers',
    '1',
    '--retry-delay',
    '0',
    '--allow-private',
    '127.0.0.1',
  ]);
});

afterAll(async () => {
  await server?.dispose();
});

/** Cancels, and waits for the end: within seconds, nothing published, nothing left. */
async function expectCancelled(build: FaultBuild): Promise<void> {
  const told = performance.now();
  const response = await build.cancel();
  expect(response.status, await response.text()).toBe(201);
  const view = await build.ends(10);
  expect(performance.now() - told).toBeLessThan(8000);
  expect(view).toMatchObject({ phase: 'cancelled', digest: null, cancelled_by: 'admin' });
  await expect(imageDigest(server, `${build.repository}:latest`)).rejects.toThrow(
    /manifest unknown|name unknown|repository name not known/i,
  );
  const log = await build.log();
  expect(log.at(-1)).toMatchObject({ type: 'phase', message: 'cancelled' });
}

const endless = ticking(10_000, 20);

test('while it waits, and while it builds', async () => {
  const running = await askForBuild(server, dockerfile(endless));
  const waiting = await askForBuild(server, dockerfile('echo never'));
  await running.says(/^tick/);
  expect(await waiting.view()).toMatchObject({ phase: 'waiting' });
  await expectCancelled(waiting);
  expect((await running.view()).phase).toBe('building');
  await expectCancelled(running);
  await untilNothingLeft(server.data);
  // What is cancelled stays so, and says so.
  const again = await running.cancel();
  expect(again.status).toBe(400);
  expect(await again.text()).toMatch(/cancelled/);
});

/** A build whose worker is frozen before it says that it unpacks; one that was quicker than that is cancelled. */
async function frozenAtStart(): Promise<FaultBuild> {
  for (let tries = 1; ; tries += 1) {
    const build = await askForBuild(server, dockerfile(endless));
    const [worker] = await until('a worker', async () => {
      const workers = await workersOf(server.data);
      return workers.length > 0 && workers;
    });
    process.kill(worker?.pid ?? 0, 'SIGSTOP');
    const { phase } = await build.view();
    if (phase === 'build-scheduled') return build;
    process.kill(worker?.pid ?? 0, 'SIGCONT');
    await expectCancelled(build);
    await untilNothingLeft(server.data);
    if (tries === 10) throw new Error(`ten workers were too quick to be frozen; the last came to ${phase}`);
  }
}

test('while its worker starts', async () => {
  await expectCancelled(await frozenAtStart());
  await untilNothingLeft(server.data);
});

test('while the source is fetched', async () => {
  const silent = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/gzip', 'content-length': 1000 });
    response.write('begun');
  });
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  try {
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/context.tar.gz`;
    const asked = once(silent, 'request');
    const build = await askForBuild(server, '', { archive_url: url });
    await asked;
    expect((await build.view()).phase).toBe('unpacking');
    await expectCancelled(build);
    await untilNothingLeft(server.data);
  } finally {
    silent.closeAllConnections();
    silent.close();
  }
});

test('while the base image is pulled', async () => {
  const base = await askForBuild(server, dockerfile('echo base'));
  expect((await base.ends()).phase).toBe('complete');
  await untilNothingLeft(server.data);
  // The base image is in our own registry, which stands still: the engine waits for it.
  const registry = (await registryOf(server.data)) ?? 0;
  const from = `FROM ${server.host}/${base.repository}`;
  const build = await askForBuild(server, dockerfile(endless).replace('FROM scratch', from));
  process.kill(registry, 'SIGSTOP');
  try {
    await build.reaches('pulling');
    const told = performance.now();
    expect((await build.cancel()).status).toBe(201);
    expect((await build.ends(10)).phase).toBe('cancelled');
    expect(performance.now() - told).toBeLessThan(8000);
    await untilNothingLeft(server.data);
  } finally {
    process.kill(registry, 'SIGCONT');
  }
  await expect(imageDigest(server, `${build.repository}:latest`)).rejects.toThrow(/unknown|not known/i);
});

test('while layers are pushed to a registry that stands still', async () => {
  const build = await askForBuild(server, dockerfile(ticking(30, 20)));
  await build.says(/^tick/);
  const registry = (await registryOf(server.data)) ?? 0;
  process.kill(registry, 'SIGSTOP');
  try {
    await build.reaches('pushing');
    const told = performance.now();
    expect((await build.cancel()).status).toBe(201);
    expect((await build.ends(10)).phase).toBe('cancelled');
    expect(performance.now() - told).toBeLessThan(8000);
    await untilNothingLeft(server.data);
  } finally {
    process.kill(registry, 'SIGCONT');
  }
  await expect(imageDigest(server, `${build.repository}:latest`)).rejects.toThrow(/unknown|not known/i);
});

test('a finished build cannot be cancelled, and the answer says so', async () => {
  const build = await askForBuild(server, dockerfile('echo done'));
  const view = await build.ends();
  expect(view.phase).toBe('complete');
  const response = await build.cancel();
  expect(response.status).toBe(400);
  expect(await response.text()).toMatch(/complete/);
  expect(await build.view()).toEqual(view);
});
