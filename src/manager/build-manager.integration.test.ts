import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { sql as raw } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OffsetClock } from '../../test/chaos/offset-clock.ts';
import { TcpProxy } from '../../test/fakes/tcp-proxy.ts';
import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { startRegistry } from '../../test/services/docker-registry.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import { type DummyBehaviour, DummyExecutor } from '../executor/dummy-executor.ts';
import type { WorkerOrder } from '../executor/executor.ts';
import { ExecutorError } from '../executor/executor-error.ts';
import type { LogEntry } from '../log/log-store.ts';
import { SqlLogStore } from '../log/sql-log-store.ts';
import type { PushedImage } from '../model/attempt.ts';
import type { Build, BuildRequest } from '../model/build.ts';
import { type Digest, digestOf } from '../model/digest.ts';
import { newUploadId, type UploadId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import type { Tag } from '../model/tag.ts';
import { MemoryOrchestrator } from '../orchestrator/memory-orchestrator.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { OciClient } from '../registry/oci-client.ts';
import { mediaTypes } from '../registry/oci-manifest.ts';
import { OciRegistry } from '../registry/oci-registry.ts';
import { AttemptEnd } from './attempt-end.ts';
import { BuildEnd } from './build-end.ts';
import { BuildManager } from './build-manager.ts';
import type { ManagerLog } from './manager-log.ts';
import { noMetrics } from './manager-metrics.ts';
import { Publisher } from './publisher.ts';
import { defaultSettings, type ManagerSettings } from './settings.ts';
import { WorkerSessionService } from './worker-session-service.ts';
import { type BuildPack, type WorkerIdentity, WorkerRefused } from './worker-sessions.ts';

const silent: ManagerLog = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const signal = new AbortController().signal;
const latest = 'latest' as Tag;

const quick: ManagerSettings = {
  ...defaultSettings,
  allowedWorkerCount: 4,
  poll: 50,
  adoptEvery: 100,
  retryDelay: 20,
  startDelay: 30,
  capacityDelay: 30,
  cancelGrace: 300,
  settleTime: 200,
  publishTries: 3,
  targetTries: 3,
  publishBackOff: 20,
  publishBackOffCap: 50,
};

let service: Awaited<ReturnType<typeof startRegistry>>;
let client: OciClient;
let registry: OciRegistry;

beforeAll(async () => {
  service = await startRegistry();
  client = new OciClient({
    endpoint: { kind: 'network', host: service.host, security: 'http' },
    credentials: { kind: 'none' },
    clock: systemClock,
  });
  registry = new OciRegistry({
    client,
    pusher: 'slipway',
    fence: { holds: async () => true, recordHeld: async () => true, recorded: async () => undefined },
  });
});

afterAll(async () => {
  client.close();
  await service[Symbol.asyncDispose]();
});

async function pushImage(repository: string, reference?: Tag): Promise<PushedImage> {
  const put = async (bytes: Buffer) => {
    const digest = digestOf(bytes);
    await client.putBlob(
      repository,
      { digest, size: bytes.length, open: () => Readable.from([bytes]) },
      signal,
    );
    return { digest, size: bytes.length };
  };
  const config = await put(Buffer.from(JSON.stringify({ os: 'linux', id: randomBytes(8).toString('hex') })));
  const layer = await put(randomBytes(500));
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer }],
    }),
  );
  const digest = digestOf(bytes);
  await client.putManifest(
    repository,
    reference ?? digest,
    { mediaType: mediaTypes.ociManifest, bytes },
    signal,
  );
  return { digest, size: config.size + layer.size };
}

/** What a worker can do in these tests; what it does is a function of it. */
class Worker {
  readonly identity: WorkerIdentity;
  readonly order: WorkerOrder;
  readonly stopped: AbortSignal;
  readonly #sessions: WorkerSessionService;
  #phase = 0;
  #log = 0;

  constructor(order: WorkerOrder, stopped: AbortSignal, sessions: WorkerSessionService) {
    this.order = order;
    this.stopped = stopped;
    this.#sessions = sessions;
    this.identity = JSON.parse(order.token);
  }

  register(own = true): Promise<BuildPack> {
    return this.#sessions.register(
      this.identity,
      own
        ? { version: '1', logBatches: true, pushesByDigest: true, engine: 'dummy', platform: 'linux/amd64' }
        : undefined,
    );
  }

  beat() {
    return this.#sessions.heartbeat(this.identity);
  }

  stage(stage: 'unpacking' | 'pulling' | 'building' | 'pushing'): Promise<boolean> {
    this.#phase += 1;
    return this.#sessions.setPhase(this.identity, this.#phase, { kind: 'stage', stage });
  }

  say(...lines: string[]) {
    this.#log += 1;
    const text = Buffer.from(lines.join('\n'));
    return this.#sessions.log(this.identity, this.#log, [{ text, count: lines.length, time: Date.now() }]);
  }

  complete(image?: PushedImage): Promise<boolean> {
    this.#phase += 1;
    return this.#sessions.setPhase(this.identity, this.#phase, {
      kind: 'complete',
      ...(image === undefined ? {} : { image }),
    });
  }

  fail(message: string): Promise<boolean> {
    this.#phase += 1;
    return this.#sessions.setPhase(this.identity, this.#phase, {
      kind: 'error',
      fault: { code: 'builderror', message },
    });
  }

  /** Until the executor stops it. */
  hang(): Promise<void> {
    return new Promise((resolve) => {
      if (this.stopped.aborted) resolve();
      else this.stopped.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

type Script = (worker: Worker, pack: () => Promise<BuildPack>) => Promise<number | undefined>;

/** The whole path of a build by a worker of ours. */
const wholeBuild: Script = async (worker) => {
  const pack = await worker.register();
  for (const stage of ['unpacking', 'pulling', 'building'] as const) await worker.stage(stage);
  await worker.say('STEP 1/1: FROM scratch', 'done');
  await worker.stage('pushing');
  await worker.complete(await pushImage(pack.repository));
  return 0;
};

interface RigOptions {
  readonly settings?: Partial<ManagerSettings>;
  readonly behave?: (order: WorkerOrder, starts: number) => DummyBehaviour;
  readonly clock?: Clock;
  /** Closed with the rig. */
  readonly database?: Database;
  readonly logger?: ManagerLog;
}

/** One database, one executor, and as many managers as wanted. */
async function openRig(
  script: Script,
  { settings, behave, clock = systemClock, logger = silent, database: given }: RigOptions = {},
) {
  const database = given ?? (await Database.open({ provider: 'sqlite', file: ':memory:' }));
  const queue = new SqlBuildQueue(database, { secretBox: new SecretBox({ key: randomBytes(32) }), clock });
  const log = new SqlLogStore(database);
  await queue.start();
  await log.start();
  const orchestrator = new MemoryOrchestrator({ clock });
  const all: ManagerSettings = { ...quick, ...settings };
  const uploads = new Set<UploadId>();
  const started: WorkerOrder[] = [];
  let most = 0;
  let sessionsOfWorkers: WorkerSessionService | undefined;
  const executor: DummyExecutor = new DummyExecutor({
    clock,
    behave: (order) => behave?.(order, started.push(order)) ?? {},
    work: async (order, stopped) => {
      if (behave === undefined) started.push(order);
      most = Math.max(most, (await executor.running()).length);
      if (sessionsOfWorkers === undefined) throw new Error('no manager');
      const worker = new Worker(order, stopped, sessionsOfWorkers);
      return { exitCode: (await script(worker, () => worker.register())) ?? 0 };
    },
  });
  const parts: { stop(): Promise<void> }[] = [];

  function manager(name: string, formerNames: readonly string[] = []) {
    const base = { queue, log, orchestrator, executor, registry, clock, settings: all };
    const shared = { ...base, logger, metrics: noMetrics };
    const buildEnd = new BuildEnd(shared);
    const publisher = new Publisher({ ...shared, name, end: buildEnd });
    const attemptEnd = new AttemptEnd({ ...shared, name, end: buildEnd, publisher });
    const sessions = new WorkerSessionService({
      tokenOpenings: [],
      ...shared,
      attemptEnd,
      buildEnd,
      cachedTag: async ({ requested }) => requested[0] ?? '',
      hostKeys: { known: async () => [], record: async () => {} },
      links: {
        packageUrl: async (_, id) => (uploads.has(id) ? `http://127.0.0.1/upload/${id}` : undefined),
      },
      credentials: {
        openings: [],
        issue: async ({ push }) => ({ pullToken: 'pull-token', pushToken: `push-token ${push.kind}` }),
      },
      site: {
        registryHost: service.host,
        registryInsecure: true,
        maxSourceBytes: 1e9,
        allowedPrivateHosts: [],
      },
    });
    sessionsOfWorkers = sessions;
    const made = new BuildManager({
      ...shared,
      name,
      formerNames,
      sessions,
      attemptEnd,
      buildEnd,
      publisher,
      tokens: { issue: async (identity) => JSON.stringify(identity) },
      worker: { server: '127.0.0.1:1', serverTls: false, registryHost: service.host },
    });
    parts.push(made, publisher, sessions);
    return { manager: made, sessions, publisher, attemptEnd, buildEnd };
  }

  return {
    queue,
    log,
    executor,
    started,
    manager,
    mostAtOnce: () => most,
    async enqueue(changes: Partial<BuildRequest> = {}): Promise<Build> {
      const uploadId = newUploadId();
      uploads.add(uploadId);
      return await queue.enqueue({
        repository: { namespace: 'team', name: `app-${randomBytes(6).toString('hex')}` },
        source: { kind: 'upload', uploadId },
        context: '/',
        dockerfilePath: '/Dockerfile',
        tags: [latest],
        displayName: 'test',
        platforms: [''],
        buildArgs: {},
        labels: {},
        noCache: false,
        push: true,
        priority: 0,
        ...changes,
      });
    },
    /** The build once it is final and its log is closed. */
    async final(build: Build): Promise<Build & { entries: readonly LogEntry[] }> {
      const entries: LogEntry[] = [];
      const limit = AbortSignal.timeout(20_000);
      for await (const page of log.tail(build.id, 0, limit)) entries.push(...page.entries);
      expect(limit.aborted, 'the log was never closed').toBe(false);
      const found = await queue.build(build.id);
      if (found === undefined || !isFinal(found.phase)) throw new Error(`not final: ${found?.phase}`);
      return { ...found, entries };
    },
    async [Symbol.asyncDispose]() {
      for (const part of parts) await part.stop();
      await executor.close();
      await orchestrator.close();
      await log.stop();
      await queue.stop();
      await database.stop();
    },
  };
}

const phasesOf = (entries: readonly LogEntry[]) =>
  entries.filter(({ type }) => type === 'phase').map(({ message }) => message);

describe('a build', () => {
  test('goes from the queue to its tag, with its phases in the log', async () => {
    await using rig = await openRig(wholeBuild);
    const { manager, buildEnd } = rig.manager('one');
    const told: Build[] = [];
    buildEnd.onBuildFinished((finished) => told.push(finished));
    await manager.start();
    const queued = await rig.enqueue();
    const build = await rig.final(queued);
    expect(build).toMatchObject({ phase: 'complete' });
    const served = await registry.digestOf(formatRepositoryName(build.repository), latest, signal);
    expect(served).toBe(build.digest);
    expect(build.imageSize).toBeGreaterThan(500);
    expect(phasesOf(build.entries)).toEqual([
      'build-scheduled',
      'unpacking',
      'pulling',
      'building',
      'pushing',
      'complete',
    ]);
    expect(build.entries.map(({ message }) => message)).toContain('done');
    await expect.poll(() => rig.executor.running()).toEqual([]);
    await expect.poll(() => manager.supervising).toBe(0);
    expect(told.map(({ id }) => id)).toEqual([build.id]);
  });

  test('that is not to be pushed is complete without an image', async () => {
    await using rig = await openRig(async (worker) => {
      await worker.register();
      await worker.complete();
      return 0;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue({ push: false }));
    expect(build.phase).toBe('complete');
    expect(build.digest).toBeUndefined();
  });

  test('whose step fails ends in error at once, and says why', async () => {
    await using rig = await openRig(async (worker) => {
      await worker.register();
      await worker.stage('building');
      await worker.fail('The command "false" returned status 1.');
      return 1;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build).toMatchObject({ phase: 'error', fault: { code: 'builderror' } });
    expect(build.jobs[0]?.attempts).toHaveLength(1);
    const [error, phase] = build.entries.slice(-2);
    expect(error).toMatchObject({ type: 'error', data: { code: 'builderror' } });
    expect(phase).toMatchObject({ type: 'phase', message: 'error' });
  });

  test('whose upload is gone ends in internalerror and says so', async () => {
    await using rig = await openRig(async (worker) => {
      await worker.register();
      return 0;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue({ source: { kind: 'upload', uploadId: newUploadId() } }));
    expect(build).toMatchObject({ phase: 'internalerror', fault: { code: 'sourcemissing' } });
  });

  test('that reports a digest the registry does not have is not complete', async () => {
    await using rig = await openRig(async (worker) => {
      await worker.register();
      await worker.complete({ digest: `sha256:${'0'.repeat(64)}` as Digest, size: 1 });
      return 0;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build).toMatchObject({ phase: 'internalerror', fault: { code: 'pushissue' } });
    expect(await registry.tags(formatRepositoryName(build.repository), signal)).toEqual([]);
  });
});

describe('a worker', () => {
  test('that dies is seen at once, tried again, and the build completes', async () => {
    let killed = 0;
    await using rig = await openRig(async (worker, pack) => {
      if (worker.order.epoch > 1) return await wholeBuild(worker, pack);
      await worker.register();
      await worker.stage('building');
      killed = Date.now();
      rig.executor.kill(worker.order.attemptId);
      await worker.hang();
      return undefined;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build.phase).toBe('complete');
    const [first, second] = build.jobs[0]?.attempts ?? [];
    expect(first?.outcome).toMatchObject({ kind: 'internal-error', fault: { code: 'workerlost' } });
    expect((first?.entered.done ?? 0) - killed).toBeLessThan(2000);
    expect(second).toMatchObject({ epoch: 2, outcome: { kind: 'complete' } });
    const retry = build.entries.find(({ type }) => type === 'error');
    expect(retry).toMatchObject({ data: { code: 'workerlost', retry: true, epoch: 2 } });
  });

  test('that always dies uses up the tries', async () => {
    await using rig = await openRig(async (worker) => {
      await worker.register();
      rig.executor.kill(worker.order.attemptId);
      await worker.hang();
      return undefined;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build).toMatchObject({ phase: 'internalerror', fault: { code: 'workerlost' } });
    expect(build.fault?.message).toContain('SIGKILL');
    expect(build.jobs[0]?.attempts).toHaveLength(3);
  });

  test('that never registers expires', async () => {
    await using rig = await openRig(wholeBuild, {
      settings: { setupTime: 100 },
      behave: () => ({ neverRegister: true }),
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build).toMatchObject({ phase: 'expired', fault: { code: 'workernotregistered' } });
    await expect.poll(() => rig.executor.running()).toEqual([]);
  });

  test('that exits before it registers is told apart, with its reason', async () => {
    await using rig = await openRig(async () => 3);
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build).toMatchObject({ phase: 'internalerror', fault: { code: 'workernotregistered' } });
    expect(build.fault?.message).toContain('status 3');
  });

  test('that falls silent expires, and its late words change nothing', async () => {
    const refused: unknown[] = [];
    await using rig = await openRig(
      async (worker, pack) => {
        if (worker.order.epoch > 1) return await wholeBuild(worker, pack);
        await worker.register();
        await worker.stage('building');
        await worker.hang();
        for (const late of [
          () => worker.stage('pushing'),
          () => worker.say('late'),
          () => worker.complete(),
        ]) {
          refused.push(await late().catch((thrown: unknown) => thrown));
        }
        return 0;
      },
      { settings: { heartbeatTimeout: 1_000 } },
    );
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build.phase).toBe('complete');
    expect(build.jobs[0]?.attempts[0]?.outcome).toMatchObject({ kind: 'expired', at: 'building' });
    expect(refused).toHaveLength(3);
    for (const each of refused) expect(each).toBeInstanceOf(WorkerRefused);
    expect(build.entries.map(({ message }) => message)).not.toContain('late');
  });

  test('that is done while its executor cannot say how it is harms nobody, and is stopped', async () => {
    await using rig = await openRig(async (worker, pack) => {
      rig.executor.status = async () => {
        throw new ExecutorError('unavailable', 'The executor does not answer.');
      };
      await wholeBuild(worker, pack);
      await worker.hang();
      return 0;
    });
    const { manager } = rig.manager('one');
    await manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build.phase).toBe('complete');
    await expect.poll(() => manager.supervising).toBe(0);
    expect(await rig.executor.running()).toEqual([]);
  });

  test('that repeats a report whose manager died before it wrote it down finds it in the log once', async () => {
    await using rig = await openRig(async (worker) => {
      const { attemptId, epoch } = worker.order;
      await rig.queue.register(attemptId, epoch, { capabilities: { pushesByDigest: true } });
      await worker.register();
      await rig.queue.enterStage(attemptId, epoch, 'unpacking');
      await worker.stage('unpacking');
      await worker.stage('unpacking');
      await worker.stage('building');
      await worker.say('done');
      await worker.stage('building');
      await worker.fail('builderror');
      return 1;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build.entries.filter(({ type }) => type === 'phase').map(({ message }) => message)).toEqual([
      ...['build-scheduled', 'unpacking', 'building', 'error'],
    ]);
  });

  test('that repeats itself gets the same answers, and nothing happens twice', async () => {
    const answers: unknown[] = [];
    await using rig = await openRig(async (worker) => {
      const { repository, pushToken } = await worker.register();
      const { sessions } = one;
      // The answer was lost on its way, so the worker asks again, until it is seen to have its build pack.
      const again = await worker.register();
      expect([again.repository, again.pushToken !== '']).toEqual([repository, pushToken !== '']);
      await sessions.heartbeat(worker.identity);
      answers.push(await worker.register().catch((thrown: unknown) => (thrown as WorkerRefused).refusal));
      const set = (sequence: number, stage: 'pulling' | 'unpacking' | 'pushing') =>
        sessions.setPhase(worker.identity, sequence, { kind: 'stage', stage });
      answers.push(...(await Promise.all([set(1, 'pulling'), set(1, 'pulling')])));
      answers.push(
        await set(2, 'pulling'),
        await set(3, 'unpacking'),
        await set(9, 'pushing'),
        await set(4, 'pulling'),
      );
      const image = await pushImage(repository);
      const complete = () => sessions.setPhase(worker.identity, 10, { kind: 'complete', image });
      answers.push(...(await Promise.all([complete(), complete()])), await complete());
      return 0;
    });
    const one = rig.manager('one');
    await one.manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(answers).toEqual(['already-registered', true, true, true, true, true, true, true, true, true]);
    expect(phasesOf(build.entries)).toEqual(['build-scheduled', 'pulling', 'pushing', 'complete']);
  });

  test('of the shared protocol pushes its tags and only says complete', async () => {
    const rights: string[] = [];
    await using rig = await openRig(async (worker) => {
      const pack = await worker.register(false);
      rights.push(pack.pushToken);
      await pushImage(pack.repository, latest);
      await worker.complete();
      return 0;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build.phase).toBe('complete');
    expect(build.digest).toBe(
      await registry.digestOf(formatRepositoryName(build.repository), latest, signal),
    );
    expect(rights).toEqual(['push-token tags']);
  });

  test('of the shared protocol that just exits is judged by what it logged', async () => {
    await using rig = await openRig(async (worker) => {
      await worker.register(false);
      await worker.stage('building');
      await worker.say('STEP 2/2: RUN false', 'error building at STEP "RUN false": exit status 1');
      return 1;
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build).toMatchObject({ phase: 'error', fault: { code: 'builderror' } });
    expect(build.fault?.message).toContain('RUN false');
    expect(build.jobs[0]?.attempts).toHaveLength(1);
  });
});

test('a log that was left open is closed, however many builds were made since', async () => {
  await using rig = await openRig(wholeBuild, { settings: { allowedWorkerCount: 0 } });
  const build = await rig.enqueue();
  // The manager that was to write its end is not there any more.
  expect(await rig.queue.cancel(build.id, 'ada')).toMatchObject({ kind: 'cancelled' });
  for (let n = 0; n < 200; n += 1) await rig.enqueue();
  await rig.manager('one').manager.start();
  expect(await rig.final(build)).toMatchObject({ phase: 'cancelled' });
});

describe('a time of day that leaps', () => {
  const leaps = [7_300_000, -7_300_000, 90_000];

  test('ends no build, and its worker’s silence still does', async () => {
    const clock = new OffsetClock();
    const building = Promise.withResolvers<Worker>();
    const silent = Promise.withResolvers<void>();
    await using rig = await openRig(
      async (worker) => {
        await worker.register();
        await worker.stage('building');
        if (worker.identity.epoch > 1) {
          await worker.complete();
          return 0;
        }
        building.resolve(worker);
        const beating = setInterval(() => void worker.beat().catch(() => {}), 50);
        await silent.promise;
        clearInterval(beating);
        await worker.hang();
        return 0;
      },
      { clock, settings: { heartbeatTimeout: 800, lease: 600 } },
    );
    await rig.manager('one').manager.start();
    const build = await rig.enqueue({ push: false });
    const { identity } = await building.promise;
    for (const offset of leaps) {
      clock.offset = offset;
      const until = performance.now() + 1_000;
      // Many looks, each of which would end it.
      await expect.poll(() => performance.now() > until, { timeout: 5_000 }).toBe(true);
      expect(await rig.queue.attempt(identity.attemptId)).toMatchObject({ state: 'building', epoch: 1 });
    }
    const from = performance.now();
    silent.resolve();
    const { phase, jobs } = await rig.final(build);
    expect(performance.now() - from).toBeLessThan(5_000);
    expect(phase).toBe('complete');
    expect(jobs[0]?.attempts.map(({ outcome }) => outcome?.kind)).toEqual(['expired', 'complete']);
  });

  test('ends nothing that was claimed right before it', async () => {
    const clock = new OffsetClock();
    await using rig = await openRig(
      async (worker) => {
        await worker.register();
        await worker.complete();
        return 0;
      },
      { clock },
    );
    const { manager } = rig.manager('one');
    const claim = rig.queue.claim.bind(rig.queue);
    rig.queue.claim = async (request) => {
      const claimed = await claim(request);
      if (claimed.length > 0) clock.offset = 3 * 3_600_000;
      return claimed;
    };
    await manager.start();
    const { phase, jobs } = await rig.final(await rig.enqueue({ push: false }));
    expect(clock.offset).toBeGreaterThan(0);
    expect(phase).toBe('complete');
    expect(jobs[0]?.attempts.map(({ outcome }) => outcome?.kind)).toEqual(['complete']);
  });

  test('does not keep another manager from ending what never registers', async () => {
    const clock = new OffsetClock();
    clock.offset = 7_300_000;
    await using rig = await openRig(
      async (worker) => {
        if (worker.identity.epoch === 1) return await worker.hang().then(() => 0);
        await worker.register();
        await worker.complete();
        return 0;
      },
      { clock, settings: { setupTime: 500 } },
    );
    const { manager } = rig.manager('one');
    await manager.start();
    const build = await rig.enqueue({ push: false });
    await expect.poll(() => rig.started.length).toBe(1);
    await manager.stop();
    clock.offset = 0;
    await rig.manager('two').manager.start();
    const { phase, jobs } = await rig.final(build);
    expect(phase).toBe('complete');
    expect(jobs[0]?.attempts.map(({ outcome }) => outcome?.kind)).toEqual(['expired', 'complete']);
  });

  test('expires no worker that is about to register', async () => {
    const clock = new OffsetClock();
    const gate = Promise.withResolvers<void>();
    await using rig = await openRig(
      async (worker) => {
        await gate.promise;
        await worker.register();
        await worker.complete();
        return 0;
      },
      { clock },
    );
    await rig.manager('one').manager.start();
    const build = await rig.enqueue({ push: false });
    await expect.poll(() => rig.started.length).toBe(1);
    clock.offset = 7_300_000;
    const until = performance.now() + 500;
    await expect.poll(() => performance.now() > until).toBe(true);
    gate.resolve();
    const { phase, jobs } = await rig.final(build);
    expect(phase).toBe('complete');
    expect(jobs[0]?.attempts).toHaveLength(1);
  });
});

describe('a cancel', () => {
  test('reaches a worker at once', async () => {
    await using rig = await openRig(async (worker) => {
      await worker.register();
      await worker.stage('building');
      await new Promise<void>((resolve) => one.sessions.onCancel(worker.identity, resolve));
      expect(await one.sessions.heartbeat(worker.identity)).toEqual({ alive: true, cancel: true });
      return 130;
    });
    const one = rig.manager('one');
    await one.manager.start();
    const queued = await rig.enqueue();
    await expect.poll(async () => (await rig.queue.build(queued.id))?.phase).toBe('building');
    const asked = Date.now();
    expect(await rig.queue.cancel(queued.id, 'ada')).toMatchObject({ kind: 'cancelling' });
    const build = await rig.final(queued);
    expect(build).toMatchObject({ phase: 'cancelled', cancelledBy: 'ada' });
    expect(Date.now() - asked).toBeLessThan(2000);
    expect(phasesOf(build.entries).at(-1)).toBe('cancelled');
  });

  test('that a worker does not heed is enforced', async () => {
    await using rig = await openRig(async (worker) => {
      await worker.register();
      await worker.stage('pushing');
      await worker.hang();
      return undefined;
    });
    await rig.manager('one').manager.start();
    const queued = await rig.enqueue();
    await expect.poll(async () => (await rig.queue.build(queued.id))?.phase).toBe('pushing');
    await rig.queue.cancel(queued.id, 'ada');
    expect(await rig.final(queued)).toMatchObject({ phase: 'cancelled' });
    await expect.poll(() => rig.executor.running()).toEqual([]);
  });

  test('of a waiting build closes its log', async () => {
    await using rig = await openRig(wholeBuild, { behave: () => ({ failStart: 'at-capacity' }) });
    await rig.manager('one').manager.start();
    const queued = await rig.enqueue();
    await rig.queue.cancel(queued.id, 'ada');
    const build = await rig.final(queued);
    expect(phasesOf(build.entries)).toEqual(['cancelled']);
  });
});

describe('capacity', () => {
  test('is never exceeded, and being full costs no try', async () => {
    await using rig = await openRig(wholeBuild, { settings: { allowedWorkerCount: 2 } });
    await rig.manager('one').manager.start();
    const queued = await Promise.all(Array.from({ length: 12 }, () => rig.enqueue()));
    for (const each of queued) {
      const build = await rig.final(each);
      expect(build.phase).toBe('complete');
      expect(build.jobs[0]?.attempts).toHaveLength(1);
    }
    // A worker that has reported its end may still be exiting beside the next ones.
    expect(rig.mostAtOnce()).toBeLessThanOrEqual(4);
    expect(rig.started).toHaveLength(12);
  });

  test('a start that fails gives the attempt back, as it was', async () => {
    await using rig = await openRig(wholeBuild, {
      behave: (_, starts) =>
        starts <= 4 ? { failStart: starts % 2 === 0 ? 'at-capacity' : 'start-failed' } : {},
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build.phase).toBe('complete');
    expect(build.jobs[0]?.attempts).toMatchObject([{ epoch: 1 }]);
    expect(rig.started).toHaveLength(5);
  });

  test('a build that no executor takes ends and says so; it does not wait for ever', async () => {
    await using rig = await openRig(wholeBuild, {
      behave: () => ({ failStart: 'refused' }),
      settings: { retryDelay: 1 },
    });
    await rig.manager('one').manager.start();
    const build = await rig.final(await rig.enqueue());
    expect(build).toMatchObject({ phase: 'internalerror', fault: { code: 'workernotstarted' } });
    expect(build.fault?.message).toContain('was told to fail this start. Then build again.');
    // Each of them might have been another manager's, with another list of executors.
    expect(rig.started).toHaveLength(build.jobs[0]?.attempts.length ?? 0);
  });
});

describe('managers', () => {
  test('two share a queue, and no build is started twice', async () => {
    await using rig = await openRig(wholeBuild);
    const one = rig.manager('one').manager;
    const two = rig.manager('two').manager;
    await one.start();
    await two.start();
    const queued = await Promise.all(Array.from({ length: 20 }, () => rig.enqueue()));
    for (const each of queued) expect((await rig.final(each)).phase).toBe('complete');
    expect(new Set(rig.started.map(({ buildId }) => buildId)).size).toBe(20);
    expect(rig.started).toHaveLength(20);
  });

  test('one that dies is succeeded: the running build goes on, under the same epoch', async () => {
    const go = Promise.withResolvers<void>();
    await using rig = await openRig(async (worker) => {
      const { repository } = await worker.register();
      await worker.stage('building');
      await go.promise;
      const image = await pushImage(repository);
      await second.sessions.setPhase(worker.identity, 2, { kind: 'complete', image });
      return 0;
    });
    const first = rig.manager('one');
    await first.manager.start();
    const queued = await rig.enqueue();
    await expect.poll(async () => (await rig.queue.build(queued.id))?.phase).toBe('building');
    await first.manager.stop();
    const second = rig.manager('two', ['one']);
    await second.manager.start();
    expect(second.manager.supervising).toBe(1);
    go.resolve();
    const build = await rig.final(queued);
    expect(build.phase).toBe('complete');
    expect(build.jobs[0]?.attempts).toHaveLength(1);
    expect(rig.started).toHaveLength(1);
  });

  test('one that begins while the database is away says so, waits for it, and then works', async () => {
    await using scratch = await scratchPostgres();
    const url = new URL(scratch.database.url ?? '');
    await using proxy = await TcpProxy.open({ targets: [Number(url.port)] });
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    const told: string[] = [];
    const logger: ManagerLog = { ...silent, error: (_fields, message) => told.push(message ?? '') };
    const database = await Database.open({ provider: 'postgres', url: url.href });
    await using rig = await openRig(wholeBuild, { database, logger });
    const { manager } = rig.manager('one');
    proxy.set({ kind: 'cut' });
    const starting = manager.start();
    await expect
      .poll(() => told, { timeout: 10_000 })
      .toContain('the build manager could not begin; it tries again in a moment');
    proxy.set({ kind: 'fair' });
    await starting;
    expect((await rig.final(await rig.enqueue())).phase).toBe('complete');
  });

  test('one that is stopped while it waits for the database begins nothing', async () => {
    const waits = Promise.withResolvers<void>();
    const logger: ManagerLog = { ...silent, error: () => waits.resolve() };
    const database = await Database.open({ provider: 'sqlite', file: ':memory:' });
    await using rig = await openRig(wholeBuild, { database, logger });
    await database.sql.schema.alterTable('managers').renameTo('away').execute();
    const { manager } = rig.manager('one');
    const starting = manager.start();
    await waits.promise;
    await manager.stop();
    await starting;
    await database.sql.schema.alterTable('away').renameTo('managers').execute();
    await rig.enqueue();
    expect(manager.supervising).toBe(0);
    expect(rig.started).toEqual([]);
  });

  test('one that died before it wrote why a build is tried again is succeeded: it is in the log once', async () => {
    await using rig = await openRig(wholeBuild);
    const build = await rig.enqueue();
    const claim = { manager: 'dead', limit: 1, capacity: 4, lease: 60_000 };
    const fault = { code: 'workerlost', message: 'The worker was lost.' } as const;
    for (const epoch of [1, 2]) {
      const [attempt] = await rig.queue.claim(claim);
      if (attempt === undefined) throw new Error('nothing to claim');
      // The first of the two writes that an attempt's end is; the second one never comes for the second attempt.
      const outcome = { kind: 'internal-error', refunded: false, fault } as const;
      expect(await rig.queue.finish(attempt.id, epoch, outcome, 0)).toMatchObject({ kind: 'retry' });
      const known = { buildId: build.id, attemptId: attempt.id, epoch };
      const end = rig.manager(`writer of ${epoch}`).buildEnd;
      if (epoch === 1) await end.retry(known, outcome, { triesLeft: 2, availableAt: Date.now() });
    }
    await rig.manager('one').manager.start();
    const { entries, phase } = await rig.final(build);
    expect(phase).toBe('complete');
    const why = 'The worker was lost.\nThe build starts again at once';
    expect(entries.filter(({ type }) => type !== undefined).slice(0, 3)).toMatchObject([
      { type: 'error', message: `${why} (2 tries left).`, data: { retry: true, epoch: 2 } },
      { type: 'error', message: `${why} (1 try left).`, data: { retry: true, epoch: 3 } },
      { type: 'phase', message: 'build-scheduled' },
    ]);
    expect(entries.filter(({ type }) => type === 'error')).toHaveLength(2);
  });

  test('one that died before it published is succeeded', async () => {
    await using rig = await openRig(wholeBuild);
    const first = rig.manager('one');
    const queued = await rig.enqueue();
    await first.publisher.stop();
    await first.manager.start();
    await expect
      .poll(async () => (await rig.queue.build(queued.id))?.jobs[0]?.attempts[0]?.state)
      .toBe('done');
    await first.manager.stop();
    expect((await rig.queue.build(queued.id))?.phase).toBe('pushing');
    await rig.manager('two', ['one']).manager.start();
    expect(await rig.final(queued)).toMatchObject({ phase: 'complete' });
  });

  describe('whose database fails when a build has been published', () => {
    async function failing(settings: Partial<ManagerSettings> = {}) {
      const database = await Database.open({ provider: 'sqlite', file: ':memory:' });
      await raw`create trigger fails before update on builds when new.verdict = 'published'
        begin select raise(abort, 'for a while'); end`.execute(database.sql);
      const told: string[] = [];
      const logger: ManagerLog = { ...silent, error: (_, text) => void told.push(text) };
      const rig = await openRig(wholeBuild, { database, logger, settings });
      return { database, rig, told };
    }

    test('ends the build as soon as it answers, long before a lease is over', async () => {
      const { database, rig, told } = await failing({ lease: 60_000 });
      await using _ = rig;
      await rig.manager('one').manager.start();
      const queued = await rig.enqueue();
      await expect.poll(() => told.length, { timeout: 10_000 }).toBeGreaterThan(3);
      expect(told.at(-1)).toMatch(/^a build could not be published; again in \d+ ms$/);
      expect((await rig.queue.build(queued.id))?.phase).toBe('pushing');
      await raw`drop trigger fails`.execute(database.sql);
      expect(await rig.final(queued)).toMatchObject({ phase: 'complete' });
    });

    test('is not kept from stopping by it, and leaves the build to its successor', async () => {
      const { database, rig, told } = await failing();
      await using _ = rig;
      const first = rig.manager('one').manager;
      await first.start();
      const queued = await rig.enqueue();
      await expect.poll(() => told.length, { timeout: 10_000 }).toBeGreaterThan(0);
      await first.drain(10);
      await first.stop();
      expect((await rig.queue.build(queued.id))?.phase).toBe('pushing');
      await raw`drop trigger fails`.execute(database.sql);
      await rig.manager('two', ['one']).manager.start();
      expect(await rig.final(queued)).toMatchObject({ phase: 'complete' });
    });
  });

  test('draining gives running builds back, at once and with their tries', async () => {
    const released = Promise.withResolvers<void>();
    await using rig = await openRig(async (worker, pack) => {
      if (worker.order.epoch > 1) return await wholeBuild(worker, pack);
      await worker.register();
      await worker.stage('building');
      released.resolve();
      await worker.hang();
      return undefined;
    });
    const first = rig.manager('one').manager;
    await first.start();
    const queued = await rig.enqueue();
    await released.promise;
    await first.drain(50);
    expect(await rig.executor.running()).toEqual([]);
    expect(await rig.queue.build(queued.id)).toMatchObject({ phase: 'waiting' });
    await first.stop();
    await first.stop();
    await rig.manager('two').manager.start();
    const build = await rig.final(queued);
    expect(build.phase).toBe('complete');
    expect(build.jobs[0]?.attempts[0]?.outcome).toMatchObject({
      refunded: true,
      fault: { code: 'managerlost' },
    });
  });

  test('draining waits for builds that end in time', async () => {
    const begun = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    await using rig = await openRig(async (worker, pack) => {
      begun.resolve();
      await go.promise;
      return await wholeBuild(worker, pack);
    });
    const { manager } = rig.manager('one');
    await manager.start();
    const queued = await rig.enqueue();
    await begun.promise;
    const drained = manager.drain(20_000);
    const waiting = await rig.enqueue();
    go.resolve();
    await drained;
    expect(await rig.queue.build(queued.id)).toMatchObject({ phase: 'complete' });
    expect(await rig.queue.build(waiting.id)).toMatchObject({ phase: 'waiting' });
  });
});
