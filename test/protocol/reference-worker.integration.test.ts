import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogEntry } from '../../src/log/log-store.ts';
import type { Build, BuildRequest } from '../../src/model/build.ts';
import { formatRepositoryName } from '../../src/model/repository-name.ts';
import type { Tag } from '../../src/model/tag.ts';
import { ReferenceWorker } from '../fakes/reference-worker/reference-worker.ts';
import { scratchFile, scratchPostgres } from '../harness/scratch-database.ts';
import { pushBlobs } from './image.ts';
import { openRig, type Rig, type StartedAttempt } from './rig.ts';

/**
 * The whole life of a worker of another system, compiled from the shared part of the contract: Ping, the log stream
 * before it registers, heartbeats, phases, the push with its own tags, and an end without a word.
 */

const signal = AbortSignal.timeout(300_000);
const tags = ['v1', 'latest'] as Tag[];

const shown = (entries: readonly LogEntry[]) =>
  entries.filter(({ type }) => type !== 'phase').map(({ message, type }) => [message, type]);
const headings = (entries: readonly LogEntry[]) =>
  entries.filter(({ type }) => type === 'phase').map(({ message }) => message);

describe.each([
  ['SQLite', scratchFile],
  ['PostgreSQL', scratchPostgres],
] as const)('on %s, a worker that knows only the shared protocol', (_name, open) => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await openRig({ open, settings: { heartbeatTimeout: 1_500 } });
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });

  async function start(changes: Partial<BuildRequest> = {}) {
    const worker = await ReferenceWorker.connect(rig.host);
    const build = await rig.enqueue({ tags, ...changes });
    return { worker, build, started: await rig.started(build) };
  }

  /** Pushes an image and its tags as the worker's engine does; returns its digest. */
  async function push(repository: string, pushToken: string, names: readonly Tag[]) {
    const client = rig.registryClient(pushToken);
    const image = await pushBlobs(client, repository, signal);
    for (const tag of names) await client.putManifest(repository, tag, image.manifest, signal);
    client.close();
    return image.digest;
  }

  async function wholeBuild(build: Build, started: StartedAttempt, worker: ReferenceWorker) {
    let digest: string | undefined;
    await worker.build(started.token, {
      messages: [
        JSON.stringify({ stream: 'Step 1/2 : FROM base\n' }),
        JSON.stringify({ status: 'Pulling fs layer', id: 'abc', progressDetail: {} }),
        JSON.stringify({ stream: 'hello\n' }),
        'no JSON at all',
      ],
      push: async (pack) => {
        digest = await push(pack.repository, pack.push_token, tags);
      },
    });
    rig.exit(started, 0);
    return { digest, final: await rig.final(build) };
  }

  test('builds, logs, pushes its tags, and the build is complete with what it pushed', async () => {
    const { worker, build, started } = await start();
    const { digest, final } = await wholeBuild(build, started, worker);
    expect(final).toMatchObject({ phase: 'complete', digest });
    expect(headings(final.entries)).toEqual([
      'build-scheduled',
      'unpacking',
      'pulling',
      'building',
      'pushing',
      'complete',
    ]);
    expect(shown(final.entries)).toEqual([
      ['Step 1/2 : FROM base', 'command'],
      ['Pulling fs layer', undefined],
      ['hello', undefined],
      ['no JSON at all', undefined],
    ]);
    const pulling = final.entries.find(({ message }) => message === 'pulling');
    expect(pulling?.data).toMatchObject({ base_image: 'base', base_image_tag: 'latest' });
    const repository = formatRepositoryName(build.repository);
    for (const tag of tags) expect(await rig.registry.digestOf(repository, tag, signal)).toBe(digest);
    expect(worker.beats).toEqual(worker.beats.map(() => true));
  });

  test('gets its build pack as that protocol has it, and a cached tag from the build before', async () => {
    const first = await start();
    await wholeBuild(first.build, first.started, first.worker);
    const { worker, build, started } = await start({
      repository: first.build.repository,
      context: '/app',
      dockerfilePath: '/app/docker/Dockerfile',
    });
    const pack = await worker.register(started.token);
    expect(pack).toMatchObject({
      build_pack: 'package_url',
      package_url: 'https://sources.example/app.tar.gz',
      context: '/app',
      dockerfile_path: 'docker/Dockerfile',
      repository: formatRepositoryName(build.repository),
      registry: rig.host,
      tag_names: tags,
    });
    expect(tags).toContain(await worker.cachedTag());
    worker.close();
    rig.exit(started, 1);
    await rig.queue.cancel(build.id, 'test');
    await rig.final(build);
  });

  test('may push only the tags that were asked for', async () => {
    const { worker, build, started } = await start();
    const pack = await worker.register(started.token);
    await expect(push(pack.repository, pack.push_token, ['other' as Tag])).rejects.toMatchObject({
      code: 'denied',
    });
    await expect(push('team/elsewhere', pack.push_token, tags)).rejects.toMatchObject({
      name: 'RegistryError',
    });
    await expect(push(pack.repository, pack.pull_token, tags)).rejects.toMatchObject({
      name: 'RegistryError',
    });
    expect(await rig.registry.tags(pack.repository, signal)).toEqual([]);
    worker.close();
    await rig.queue.cancel(build.id, 'test');
    await rig.final(build);
  });

  test('that says COMPLETE and pushed nothing does not complete its build', async () => {
    const { worker, build, started } = await start();
    await worker.build(started.token, { messages: [] });
    rig.exit(started, 0);
    const next = await rig.started(build, 2);
    expect((await rig.build(build)).phase).not.toBe('complete');
    await rig.queue.cancel(build.id, 'test');
    rig.exit(next, 1);
    await rig.final(build);
  });

  test('that exits without a word while it builds has met an error of the user, and is not tried again', async () => {
    const { worker, build, started } = await start();
    await worker.build(started.token, {
      messages: [
        JSON.stringify({ stream: 'Step 2/2 : RUN make\n' }),
        JSON.stringify({ error: "The command '/bin/sh -c make' returned a non-zero code: 2" }),
      ],
      dieBefore: 'PUSHING',
    });
    rig.exit(started, 1);
    const final = await rig.final(build);
    expect(final.phase).toBe('error');
    expect(final.jobs[0]?.attempts).toHaveLength(1);
    expect(shown(final.entries)).toContainEqual([
      "The command '/bin/sh -c make' returned a non-zero code: 2",
      'error',
    ]);
  });

  test('that dies before it builds is tried again', async () => {
    const { worker, build, started } = await start();
    await worker.build(started.token, { messages: [], dieBefore: 'PULLING' });
    rig.executor.kill(started.identity.attemptId);
    const next = await rig.started(build, 2);
    const again = await ReferenceWorker.connect(rig.host);
    const { digest, final } = await wholeBuild(build, next, again);
    expect(final).toMatchObject({ phase: 'complete', digest });
    expect(final.jobs[0]?.attempts.map(({ epoch }) => epoch)).toEqual([1, 2]);
  });

  test('lives as long as it beats, and is given up when it does not', async () => {
    const { worker, build, started } = await start();
    await worker.register(started.token);
    for (let beat = 0; beat < 12; beat += 1) {
      expect(await worker.beat()).toBe(true);
      await sleep(250);
    }
    expect((await rig.queue.attempt(started.identity.attemptId))?.state).toBe('registered');
    const silent = Date.now();
    const next = await rig.started(build, 2);
    expect(Date.now() - silent).toBeGreaterThan(1_000);
    await expect(worker.beat()).rejects.toThrow();
    await expect(worker.setPhase('BUILDING')).rejects.toMatchObject({ code: 16 });
    worker.close();
    rig.exit(next, 1);
    await rig.queue.cancel(build.id, 'test');
    await rig.final(build);
  });

  test('whose build is cancelled is stopped, and what it still says changes nothing', async () => {
    const { worker, build, started } = await start();
    await worker.register(started.token);
    await worker.setPhase('BUILDING');
    expect((await rig.queue.cancel(build.id, 'ann')).kind).toBe('cancelling');
    const final = await rig.final(build);
    expect(final).toMatchObject({ phase: 'cancelled', cancelledBy: 'ann' });
    expect((await rig.executor.status(started.identity.attemptId)).kind).toBe('gone');
    await expect(worker.setPhase('COMPLETE')).rejects.toMatchObject({ code: 16 });
    await expect(worker.log('late')).rejects.toMatchObject({ code: 16 });
    expect((await rig.build(build)).phase).toBe('cancelled');
    worker.close();
  });

  test('may fall asleep with its log open, for streams do not end by themselves', async () => {
    const { worker, build, started } = await start({ push: false });
    await worker.register(started.token);
    for (let beat = 0; beat < 6; beat += 1) {
      await sleep(300);
      expect(await worker.beat()).toBe(true);
    }
    expect(await worker.log('still here')).toMatchObject({ success: true, sequence_number: 1 });
    expect(await worker.setPhase('COMPLETE')).toMatchObject({ success: true });
    worker.close();
    rig.exit(started, 0);
    expect(await rig.final(build)).toMatchObject({ phase: 'complete' });
  });
});
