import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { imageDigest } from '../harness/build-client.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import {
  askForBuild,
  dockerfile,
  type FaultBuild,
  registryOf,
  ticking,
  ticksIn,
  untilNothingLeft,
  upTo,
  WorkerWatch,
  withContext,
  workersOf,
} from './fault-build.ts';

/** `kill -9` of the server in every phase of a build, then `up` again on the same data folder. */
let server: SlipwayServer;
let watch: WorkerWatch;

beforeAll(async () => {
  server = await SlipwayServer.start(['--retry-delay', '0', '--allow-private', '127.0.0.1']);
});

afterEach(() => watch?.end());

afterAll(async () => {
  await server?.dispose();
});

async function crash(): Promise<void> {
  await server.kill('SIGKILL');
}

/** What must hold of every build whose server was killed, however it went on. */
async function expectWhole(build: FaultBuild, following: Promise<unknown[]>): Promise<void> {
  const view = await build.ends();
  expect(view.phase, `${view.error_code}: ${view.error}`).toBe('complete');
  expect(view.attempts.filter(({ outcome }) => outcome === 'complete')).toHaveLength(1);
  expect(await imageDigest(server, `${build.repository}:latest`)).toBe(view.digest);
  const log = await build.log();
  expect(await following).toEqual(log);
  expect(log.at(-1)).toMatchObject({ type: 'phase', message: 'complete' });
  expect(watch.end(), 'workers alive at once').toBe(1);
  const runs = ticksIn(log);
  for (const [index, run] of runs.entries()) expect(run.first).toBeGreaterThan(runs[index - 1]?.last ?? 0);
  await untilNothingLeft(server.data);
}

test('build-scheduled: the worker has not registered', async () => {
  watch = new WorkerWatch(server.data);
  const build = await askForBuild(server, dockerfile(ticking(20, 10)));
  const following = build.follow();
  const [worker] = await until('a worker', async () => {
    const workers = await workersOf(server.data);
    return workers.length > 0 && workers;
  });
  process.kill(worker?.pid ?? 0, 'SIGSTOP');
  expect((await build.view()).attempts).toMatchObject([{ epoch: 1, state: 'scheduled' }]);
  await crash();
  process.kill(worker?.pid ?? 0, 'SIGCONT');
  await server.start();
  await expectWhole(build, following);
  expect(ticksIn(await build.log()).map(({ numbers }) => numbers)).toEqual([upTo(20)]);
});

test('unpacking: the source is still coming', async () => {
  const text = dockerfile(ticking(20, 10));
  const source = await withContext(
    text,
    async (archive, type) => await slowSource(await readFile(archive), type),
  );
  try {
    watch = new WorkerWatch(server.data);
    const build = await askForBuild(server, '', { archive_url: source.url });
    const following = build.follow();
    await build.reaches('unpacking');
    await source.asked;
    await crash();
    await server.start();
    source.send();
    await expectWhole(build, following);
    expect((await build.view()).attempts).toHaveLength(1);
  } finally {
    source.server.close();
  }
});

test('pulling: the base image is still coming', async () => {
  const base = await askForBuild(server, dockerfile('echo base'));
  expect((await base.ends()).phase).toBe('complete');
  await untilNothingLeft(server.data);
  watch = new WorkerWatch(server.data);
  // The base image is in our own registry, which stands still: the engine waits for it.
  const registry = (await registryOf(server.data)) ?? 0;
  const from = `FROM ${server.host}/${base.repository}`;
  const build = await askForBuild(server, dockerfile(ticking(20, 10)).replace('FROM scratch', from));
  const following = build.follow();
  process.kill(registry, 'SIGSTOP');
  await build.reaches('pulling');
  await crash();
  await server.start();
  await expectWhole(build, following);
});

test('building: a step runs on while there is no server', async () => {
  watch = new WorkerWatch(server.data);
  const build = await askForBuild(server, dockerfile(ticking(150, 20)));
  const following = build.follow();
  await build.says(/^tick \S+ 30 /);
  await crash();
  await server.start();
  await expectWhole(build, following);
  // The worker survived, so the step ran once, and every line is there once.
  expect(ticksIn(await build.log()).map(({ numbers }) => numbers)).toEqual([upTo(150)]);
  expect((await build.view()).attempts).toHaveLength(1);
});

test('building: killed three times over', async () => {
  watch = new WorkerWatch(server.data);
  const build = await askForBuild(server, dockerfile(ticking(250, 20)));
  const following = build.follow();
  for (const line of [10, 60, 120]) {
    await build.says(new RegExp(`^tick \\S+ ${line} `));
    await crash();
    await server.start();
  }
  await expectWhole(build, following);
  expect(ticksIn(await build.log()).map(({ numbers }) => numbers)).toEqual([upTo(250)]);
});

test('pushing: layers are on their way', async () => {
  watch = new WorkerWatch(server.data);
  const build = await askForBuild(
    server,
    dockerfile(ticking(40, 20), '/busybox dd if=/dev/urandom of=/big bs=1M count=16 2>/dev/null'),
  );
  const following = build.follow();
  await build.says(/^tick \S+ 10 /);
  // The registry stands still, so the push cannot end before the server does.
  process.kill((await registryOf(server.data)) ?? 0, 'SIGSTOP');
  await build.reaches('pushing');
  await crash();
  await expect
    .poll(async () => await registryOf(server.data), {
      timeout: 5_000,
      message: 'the registry ends with its server',
    })
    .toBeUndefined();
  await server.start();
  await expectWhole(build, following);
  expect(ticksIn(await build.log()).map(({ numbers }) => numbers)).toEqual([upTo(40)]);
});

test('between the worker’s COMPLETE and the tags', async () => {
  watch = new WorkerWatch(server.data);
  const build = await askForBuild(server, dockerfile(ticking(40, 20)));
  const following = build.follow();
  await build.says(/^tick \S+ 10 /);
  // A file in the place of the tags' folder: the image can be pushed by digest, its tags cannot be written.
  const manifests = join(
    server.data,
    `registry/storage/docker/registry/v2/repositories/${build.repository}/_manifests`,
  );
  await mkdir(manifests, { recursive: true });
  await writeFile(join(manifests, 'tags'), '');
  await until('the attempt to be over', async () => (await build.view()).attempts[0]?.outcome === 'complete');
  expect((await build.view()).phase).toBe('pushing');
  await crash();
  await rm(join(manifests, 'tags'));
  await server.start();
  await expectWhole(build, following);
  expect((await build.view()).attempts).toHaveLength(1);
});

interface SlowSource {
  readonly server: Server;
  readonly url: string;
  readonly asked: Promise<unknown>;
  send(): void;
}

/** Serves an archive whose second half comes when `send` is called. */
async function slowSource(archive: Buffer, type: string): Promise<SlowSource> {
  const held: (() => void)[] = [];
  let go = false;
  const source = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': type, 'content-length': archive.length });
    response.write(archive.subarray(0, archive.length / 2));
    const rest = (): void => void response.end(archive.subarray(archive.length / 2));
    if (go) rest();
    else held.push(rest);
  });
  source.listen(0, '127.0.0.1');
  await once(source, 'listening');
  return {
    server: source,
    url: `http://127.0.0.1:${(source.address() as AddressInfo).port}/context.tar.gz`,
    asked: once(source, 'request'),
    send: () => {
      go = true;
      for (const rest of held) rest();
    },
  };
}
