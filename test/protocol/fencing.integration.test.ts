import { type Client, credentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Build } from '../../src/model/build.ts';
import type { Digest } from '../../src/model/digest.ts';
import { formatRepositoryName } from '../../src/model/repository-name.ts';
import type { Tag } from '../../src/model/tag.ts';
import type { OciClient } from '../../src/registry/oci-client.ts';
import { mediaTypes } from '../../src/registry/oci-manifest.ts';
import {
  BuildManagerClient,
  type BuildPack,
  LogType,
  Phase,
  type SetPhaseResponse,
} from '../../src/rpc/generated/buildman.ts';
import { metricOf } from '../harness/metric-of.ts';
import { scratchFile, scratchPostgres } from '../harness/scratch-database.ts';
import { pushBlobs } from './image.ts';
import { openRig, type Rig, type StartedAttempt } from './rig.ts';
import { SharedClient } from './shared-client.ts';

/**
 * A worker that was given up on, and does not know it: the manager lost it, another attempt runs in its place, and all
 * its tokens are good for a long time yet.
 */

const signal = AbortSignal.timeout(300_000);
const latest = 'latest' as Tag;
/** By the gateway, which knows the token and who it is for; not for want of a login. */
const denied = { name: 'RegistryError', code: 'denied' };

describe.each([
  ['SQLite', scratchFile],
  ['PostgreSQL', scratchPostgres],
] as const)('on %s, a worker with an old epoch', (_name, open) => {
  let rig: Rig;
  let shared: SharedClient;
  let own: BuildManagerClient;
  let build: Build;
  let repository: string;
  let current: StartedAttempt;
  const clients: OciClient[] = [];

  beforeAll(async () => {
    rig = await openRig({ open });
    shared = new SharedClient(rig.host);
    own = new BuildManagerClient(rig.host, credentials.createInsecure());
  });
  afterAll(async () => {
    (own as Client).close();
    shared[Symbol.dispose]();
    await rig[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    build = await rig.enqueue();
    repository = formatRepositoryName(build.repository);
    current = await rig.started(build);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await rig.queue.cancel(build.id, 'test');
    await rig.final(build);
  });

  function registryClient(password: string): OciClient {
    const client = rig.registryClient(password);
    clients.push(client);
    return client;
  }

  /** Registers as a worker that knows the shared protocol only. */
  async function registerShared({ token }: StartedAttempt) {
    const answer = await shared.register(token);
    if (answer.kind !== 'reply') throw new Error(answer.details);
    return { job: String(answer.reply.job_jwt), push: String(answer.reply.push_token) };
  }

  /** Registers as a worker of Slipway's own, which leaves the tags to the manager. */
  async function registerOwn({ token }: StartedAttempt): Promise<BuildPack> {
    return await new Promise((resolve, reject) => {
      const capabilities = {
        version: 'test',
        logBatches: true,
        pushesByDigest: true,
        engine: 'dummy',
        platform: 'linux/amd64',
      };
      own.registerBuildJob({ registerJwt: token, capabilities }, (error, pack) =>
        error === null ? resolve(pack) : reject(error),
      );
    });
  }

  async function complete(
    jobJwt: string,
    image: { digest: Digest; size: number },
  ): Promise<SetPhaseResponse> {
    const request = {
      jobJwt,
      sequenceNumber: 1,
      phase: Phase.COMPLETE,
      pullMetadata: undefined,
      fault: undefined,
      image: { ...image, mediaType: mediaTypes.ociManifest },
      commit: '',
      gitHostKeys: [],
    };
    return await new Promise((resolve, reject) => {
      own.setPhase(request, (error, reply) => (error === null ? resolve(reply) : reject(error)));
    });
  }

  /** The manager gives the worker up; the next attempt is started. */
  async function replace(): Promise<StartedAttempt> {
    rig.executor.kill(current.identity.attemptId);
    return await rig.started(build, 2);
  }

  const refusal = {
    kind: 'status',
    code: 'UNAUTHENTICATED',
    details: expect.stringContaining('Invalid build token: '),
  };

  test('cannot log', async () => {
    const { job } = await registerShared(current);
    expect(await shared.log(job, 1, 'before')).toMatchObject({ reply: { success: true } });
    await replace();
    const before = await rig.rows();
    const refused = await metricOf(rig.url, 'slipway_epochs_refused_total');
    for (const sequence of [1, 2, 3]) expect(await shared.log(job, sequence, 'after')).toEqual(refusal);
    expect(await rig.rows()).toEqual(before);
    expect(await metricOf(rig.url, 'slipway_epochs_refused_total')).toBe(refused + 3);
    const { entries } = await rig.log.read(build.id, 0, 100);
    expect(entries.map(({ message }) => message)).toContain('before');
    expect(entries.map(({ message }) => message)).not.toContain('after');
  });

  test('cannot log in batches', async () => {
    const pack = await registerOwn(current);
    await replace();
    const before = await rig.rows();
    const call = own.logBatches();
    const over = new Promise<{ code: number; details: string }>((resolve) => {
      call.on('error', (error: Error & { code: number; details: string }) => resolve(error));
      call.on('data', () => resolve({ code: 0, details: 'it was answered' }));
    });
    const run = {
      text: Buffer.from('after'),
      type: LogType.OUTPUT,
      time: Date.now(),
      count: 1,
      partial: false,
    };
    call.write({ jobJwt: pack.jobJwt, sequenceNumber: 1, runs: [run] });
    expect(await over).toMatchObject({ code: 16, details: refusal.details });
    expect(await rig.rows()).toEqual(before);
  });

  test('cannot set a phase', async () => {
    const { job } = await registerShared(current);
    await shared.setPhase(job, 1, 'UNPACKING');
    await replace();
    const before = await rig.rows();
    for (const [index, phase] of ['PULLING', 'BUILDING', 'PUSHING', 'COMPLETE', 'ERROR'].entries()) {
      expect(await shared.setPhase(job, index + 2, phase), phase).toEqual(refusal);
    }
    expect(await rig.rows()).toEqual(before);
    expect((await rig.build(build)).phase).not.toBe('complete');
  });

  test('cannot say that it lives, nor ask for a tag, nor register again', async () => {
    const { job } = await registerShared(current);
    await replace();
    const before = await rig.rows();
    expect(await shared.heartbeat(job)).toEqual(refusal);
    expect(await shared.cachedTag(job)).toEqual(refusal);
    expect(await shared.register(current.token)).toEqual(refusal);
    expect(await rig.rows()).toEqual(before);
  });

  test('cannot get a registry token', async () => {
    const { push } = await registerShared(current);
    const ask = async () =>
      await fetch(
        `${rig.url}/v2/auth?service=slipway-registry&scope=${encodeURIComponent(`repository:${repository}:pull,push`)}`,
        { headers: { authorization: `Basic ${Buffer.from(`$token:${push}`).toString('base64')}` } },
      );
    expect((await ask()).status).toBe(200);
    const next = await replace();
    const before = await rig.rows();
    const refused = await ask();
    expect(refused.status).toBe(401);
    expect(await refused.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
    expect(await rig.rows()).toEqual(before);
    const tokens = await registerShared(next);
    const answer = await fetch(`${rig.url}/v2/auth?service=slipway-registry`, {
      headers: { authorization: `Basic ${Buffer.from(`$token:${tokens.push}`).toString('base64')}` },
    });
    expect(answer.status).toBe(200);
  });

  test('cannot use the registry token that it has', async () => {
    const { push } = await registerShared(current);
    // It keeps its registry token, which lives for minutes.
    const client = registryClient(push);
    const image = await pushBlobs(client, repository, signal);
    await replace();
    const before = await rig.rows();
    await expect(client.putManifest(repository, latest, image.manifest, signal)).rejects.toMatchObject(
      denied,
    );
    await expect(client.putManifest(repository, image.digest, image.manifest, signal)).rejects.toMatchObject(
      denied,
    );
    await expect(pushBlobs(client, repository, signal)).rejects.toMatchObject(denied);
    expect(await rig.registry.tags(repository, signal)).toEqual([]);
    expect(await rig.registry.digestOf(repository, latest, signal)).toBeUndefined();
    expect(await rig.rows()).toEqual(before);
  });

  test('does not get its image tagged, and the one that took its place does', async () => {
    const pack = await registerOwn(current);
    const client = registryClient(pack.pushToken);
    const old = await pushBlobs(client, repository, signal);
    await client.putManifest(repository, latest, old.manifest, signal);
    expect(
      await rig.registry.digestOf(repository, latest, signal),
      'only the manager writes tags',
    ).toBeUndefined();
    const next = await replace();
    const before = await rig.rows();
    await expect(complete(pack.jobJwt, old)).rejects.toMatchObject({ code: 16, details: refusal.details });
    expect(await rig.rows()).toEqual(before);
    expect(await rig.registry.digestOf(repository, latest, signal)).toBeUndefined();

    const nextPack = await registerOwn(next);
    const nextClient = registryClient(nextPack.pushToken);
    const image = await pushBlobs(nextClient, repository, signal);
    await nextClient.putManifest(repository, image.digest, image.manifest, signal);
    expect(await complete(nextPack.jobJwt, image)).toMatchObject({ success: true });
    // Now more than ever.
    await expect(complete(pack.jobJwt, old)).rejects.toMatchObject({ code: 16 });
    expect(await rig.final(build)).toMatchObject({ phase: 'complete', digest: image.digest });
    expect(await rig.registry.digestOf(repository, latest, signal)).toBe(image.digest);
    expect(await rig.registry.tags(repository, signal)).toEqual([latest]);
  });

  test('of the shared protocol does not get its tag either when it says COMPLETE', async () => {
    const { job, push } = await registerShared(current);
    const old = await pushBlobs(registryClient(push), repository, signal);
    const next = await replace();
    await expect(
      registryClient(push).putManifest(repository, latest, old.manifest, signal),
    ).rejects.toMatchObject({ code: 'unauthorized' });
    expect(await shared.setPhase(job, 1, 'COMPLETE')).toEqual(refusal);
    const tokens = await registerShared(next);
    const client = registryClient(tokens.push);
    const image = await pushBlobs(client, repository, signal);
    await client.putManifest(repository, latest, image.manifest, signal);
    expect(await shared.setPhase(tokens.job, 1, 'COMPLETE')).toMatchObject({ reply: { success: true } });
    expect(await rig.final(build)).toMatchObject({ phase: 'complete', digest: image.digest });
    expect(await rig.registry.digestOf(repository, latest, signal)).toBe(image.digest);
  });
});
