import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TcpProxy } from '../../test/fakes/tcp-proxy.ts';
import { type ScratchDatabase, scratchPostgres } from '../../test/harness/scratch-database.ts';
import { systemClock } from '../base/clock.ts';
import { composeManager, type ManagerParts } from '../bin/compose-manager.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import { DummyExecutor } from '../executor/dummy-executor.ts';
import { SqlLogStore } from '../log/sql-log-store.ts';
import { noMetrics } from '../manager/manager-metrics.ts';
import { defaultSettings } from '../manager/settings.ts';
import type { Build } from '../model/build.ts';
import type { Tag } from '../model/tag.ts';
import { MemoryOrchestrator } from '../orchestrator/memory-orchestrator.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import type { Registry } from '../registry/registry.ts';
import { ManagerLink } from './manager-link.ts';
import { createOnePort, type OnePort } from './one-port.ts';
import { newTokenKey, TokenKeySet } from './token-keys.ts';
import { WorkerTokens } from './tokens.ts';

const capabilities = { version: '1', logBatches: true, pushesByDigest: true, engine: 'dummy', platform: '' };
const quiet = (): void => {};
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const unused = async (): Promise<never> => {
  throw new Error('these builds push nothing');
};
const registry: Registry = {
  publish: unused,
  digestOf: unused,
  tags: unused,
  imageSize: unused,
  delete: unused,
};
const key = newTokenKey();
const secretKey = randomBytes(32);

/** A manager as its own process would be: connections to the database, port, sessions and memory of its own. */
class Manager {
  readonly database: Database;
  readonly queue: SqlBuildQueue;
  readonly log: SqlLogStore;
  readonly parts: ManagerParts;
  readonly tokens: WorkerTokens;
  readonly #door: OnePort;
  readonly #executor: DummyExecutor;
  readonly #orchestrator = new MemoryOrchestrator({ clock: systemClock });
  port = 0;

  constructor(database: Database, name: string, orders: string[]) {
    this.database = database;
    this.queue = new SqlBuildQueue(database, { secretBox: new SecretBox({ key: secretKey }) });
    this.log = new SqlLogStore(database, { poll: 200 });
    this.#executor = new DummyExecutor({
      clock: systemClock,
      work: async (order, signal) => {
        orders.push(order.token);
        await new Promise<void>((resolve) =>
          signal.addEventListener('abort', () => resolve(), { once: true }),
        );
        return { exitCode: 0 };
      },
    });
    this.tokens = new WorkerTokens({
      keys: new TokenKeySet([key]),
      issuer: 'slipway',
      audience: 'localhost',
      clock: systemClock,
      times: this.queue,
    });
    this.parts = composeManager({
      name,
      queue: this.queue,
      log: this.log,
      orchestrator: this.#orchestrator,
      executor: this.#executor,
      registry,
      cachedTag: async () => '',
      credentials: { openings: [], issue: async () => ({ pullToken: 'pull', pushToken: 'push' }) },
      hostKeys: { known: async () => [], record: async () => {} },
      links: { packageUrl: async () => undefined },
      workerTokens: this.tokens,
      worker: { server: '', serverTls: false, registryHost: '' },
      site: { registryHost: '', registryInsecure: true, maxSourceBytes: 1e9, allowedPrivateHosts: [] },
      clock: systemClock,
      settings: { ...defaultSettings, allowedWorkerCount: 4, settleTime: 100, poll: 60_000 },
      logger,
      metrics: noMetrics,
    });
    this.#door = createOnePort({ grpc: this.parts.rpc, http: createServer(), log: logger });
  }

  async start({ claims }: { claims: boolean }): Promise<void> {
    await this.queue.start();
    await this.log.start();
    this.port = (await this.#door.listen({ host: '127.0.0.1', port: 0 })).port;
    if (claims) await this.parts.manager.start();
  }

  async stop(): Promise<void> {
    await this.parts.rpc.stop(0);
    await this.#door.stop(0);
    await this.parts.stop(0);
    await this.#executor.close();
    await this.log.stop();
    await this.queue.stop();
    await this.#orchestrator.close();
    await this.database.stop();
  }
}

let scratch: ScratchDatabase;
let orders: string[];
let a: Manager;
let b: Manager;

beforeEach(async () => {
  scratch = await scratchPostgres();
  orders = [];
  a = new Manager(await Database.open(scratch.options), 'a', orders);
  b = new Manager(await Database.open(scratch.options), 'b', orders);
});

afterEach(async () => {
  await a.stop();
  await b.stop();
  await scratch[Symbol.asyncDispose]();
});

async function enqueued(): Promise<Build> {
  return await a.queue.enqueue({
    repository: { namespace: 'team', name: 'app' } as Build['repository'],
    source: { kind: 'archive', url: 'https://example.com/source.tar.gz' },
    dockerfilePath: '/Dockerfile',
    context: '/',
    tags: ['latest' as Tag],
    buildArgs: {},
    labels: {},
    platforms: [''],
    push: false,
    noCache: false,
    displayName: 'app',
    priority: 0,
  });
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await systemClock.sleep(10);
}

async function registered(port: number): Promise<ManagerLink> {
  await until(() => orders.length > 0);
  const link = new ManagerLink({
    server: `127.0.0.1:${port}`,
    clock: systemClock,
    log: () => {},
    heartbeatEvery: 50,
  });
  await link.connect();
  await link.register(orders[0] ?? '', capabilities);
  return link;
}

const run = (text: string) => [{ text: Buffer.from(text), count: 1, time: 1_700_000_000_000 }];

test('a worker that loses its manager goes on at another, and no line is lost or doubled', async () => {
  await a.start({ claims: true });
  await b.start({ claims: false });
  const build = await enqueued();
  await using proxy = await TcpProxy.open({ targets: [a.port, b.port] });
  const link = await registered(proxy.ports[0] ?? 0);
  const expected: string[] = [];
  for (let n = 0; n < 120; n += 1) {
    expected.push(`line ${n}`);
    await link.log.send(run(`line ${n}`));
    if (n % 20 === 10) {
      // New connections go to the other one of the two.
      proxy.set({ kind: 'cut' });
      proxy.set({ kind: 'fair' });
    }
    await systemClock.sleep(5);
  }
  await link.log.drained();
  await link.close();
  // Tokens come from the first; the second has seen this worker's.
  expect(b.tokens.remembered).toBeGreaterThan(0);
  const { entries } = await b.log.read(build.id, 0, 1_000);
  const lines = entries.filter(({ type }) => type === undefined).map(({ message }) => message);
  expect(lines).toEqual(expected);
});

test('an attempt that ends through another manager is let go by its own at once', async () => {
  await a.start({ claims: true });
  await b.start({ claims: false });
  const build = await enqueued();
  const link = await registered(b.port);
  expect(a.parts.manager.supervising).toBe(1);
  for (const stage of ['unpacking', 'pulling', 'building', 'pushing'] as const) {
    expect(await link.setPhase({ kind: 'stage', stage })).toBe(true);
  }
  expect(await link.setPhase({ kind: 'complete' })).toBe(true);
  // Its own looks come once a minute here, so it was told.
  await until(() => a.parts.manager.supervising === 0);
  await until(async () => (await a.log.read(build.id, 0, 0)).closed);
  expect((await a.queue.build(build.id))?.phase).toBe('complete');
  await link.close();
});

test('the end of a build that was cancelled while it waited is written once, whoever hears of it', async () => {
  await a.start({ claims: true });
  await b.start({ claims: true });
  const first = await enqueued();
  // The repository's one place is taken, so this one waits.
  const second = await enqueued();
  await until(() => orders.length > 0);
  expect(await b.queue.cancel(second.id, 'ann')).toMatchObject({ kind: 'cancelled' });
  await until(async () => (await a.log.read(second.id, 0, 0)).closed);
  const { entries } = await a.log.read(second.id, 0, 100);
  expect(entries.map(({ type, message }) => [type, message])).toEqual([['phase', 'cancelled']]);
  await a.queue.cancel(first.id, 'ann');
});
