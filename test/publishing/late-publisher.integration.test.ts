import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock as clock } from '../../src/base/clock.ts';
import { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { SqlLogStore } from '../../src/log/sql-log-store.ts';
import { BuildEnd } from '../../src/manager/build-end.ts';
import { noMetrics } from '../../src/manager/manager-metrics.ts';
import { Publisher } from '../../src/manager/publisher.ts';
import { defaultSettings } from '../../src/manager/settings.ts';
import type { Digest } from '../../src/model/digest.ts';
import { isFinal } from '../../src/model/phase.ts';
import type { Tag } from '../../src/model/tag.ts';
import { request } from '../../src/queue/build-queue.suite.ts';
import { SqlBuildQueue } from '../../src/queue/sql-build-queue.ts';
import type { OciClient } from '../../src/registry/oci-client.ts';
import { OciRegistry } from '../../src/registry/oci-registry.ts';
import { RegistryError } from '../../src/registry/registry-error.ts';
import { SqlPushHistory } from '../../src/registry/sql-push-history.ts';
import { RegistryServer } from '../fakes/registry-server.ts';
import { pausedAt } from '../harness/paused-at.ts';
import { scratchPostgres } from '../harness/scratch-database.ts';
import { pushBlobs } from '../protocol/image.ts';
import { until } from '../protocol/rig.ts';

/** Two managers, one registry: one of them is stopped while it publishes, and goes on when a newer build is published. */
const logger = { debug() {}, info() {}, warn() {}, error() {} };
const { signal } = new AbortController();
const latest = 'latest' as Tag;
let server: RegistryServer;
let made = 0;

beforeAll(async () => {
  server = await RegistryServer.start();
});
afterAll(async () => await server?.stop());

async function newScene() {
  const scratch = await scratchPostgres();
  const second = await Database.open(scratch.options);
  const secretBox = new SecretBox({ key: randomBytes(32) });
  let time = 0;
  const managerOn = async (database: Database, name: string, client: OciClient) => {
    const queue = new SqlBuildQueue(database, { secretBox, monotonic: () => time });
    await queue.start();
    const log = new SqlLogStore(database);
    await log.start();
    const history = new SqlPushHistory(database, clock);
    const publisher = new Publisher({
      queue,
      name,
      registry: new OciRegistry({ client, pusher: 'slipway', fence: history }),
      end: new BuildEnd({ log, clock, logger, metrics: noMetrics }),
      clock,
      settings: { ...defaultSettings, publishTries: 3, publishBackOff: 1 },
      logger,
      metrics: noMetrics,
    });
    return { name, queue, log, publisher };
  };
  const repository = `team/app-${++made}`;
  return {
    repository,
    managers: async (paused: OciClient) => {
      const b = await managerOn(scratch.database, 'B', paused);
      const c = await managerOn(second, 'C', server.client());
      await b.queue.beat('B', 300_000);
      await c.queue.beat('C', 300_000);
      return { b, c };
    },
    /** B counts no more: C takes over what it publishes. */
    async takeOver({ queue, publisher }: Awaited<ReturnType<typeof managerOn>>) {
      for (let beats = 0; beats < 12; beats += 1) {
        time += 500;
        for (const id of (await queue.beat('C', 300_000)).unpublished) publisher.publish(id);
      }
    },
    async publish({ queue, name, publisher }: Awaited<ReturnType<typeof managerOn>>, digest: Digest) {
      const { id } = await queue.enqueue(request(repository));
      const [attempt] = await queue.claim({ manager: name, limit: 1, capacity: 9, lease: 300_000 });
      if (attempt?.buildId !== id) throw new Error('another build was claimed');
      const outcome = { kind: 'complete', image: { digest, size: 5 } } as const;
      expect(await queue.finish(attempt.id, 1, outcome, 0)).toMatchObject({ kind: 'publish' });
      publisher.publish(id);
      return id;
    },
    async push() {
      const client = server.client();
      const { digest, manifest } = await pushBlobs(client, repository, signal);
      await client.putManifest(repository, digest, manifest, signal);
      return digest;
    },
    served: async () => (await server.client().headManifest(repository, latest, signal))?.digest,
    async end(all: readonly Awaited<ReturnType<typeof managerOn>>[]) {
      for (const { publisher, log, queue } of all) {
        await publisher.stop();
        await log.stop();
        await queue.stop();
      }
      await second.stop();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

test.each([
  ['getManifest', 'before'],
  ['getManifest', 'after'],
  ['putManifest', 'before'],
  ['putManifest', 'after'],
  ['putManifest', 'unanswered'],
  ['headManifest', 'before'],
  ['headManifest', 'after'],
] as const)(
  'a manager that was stopped at its %s (%s) leaves the tag to a newer build',
  async (method, when) => {
    const scene = await newScene();
    const stopped = Promise.withResolvers<void>();
    const resumed = Promise.withResolvers<void>();
    let pauses = 0;
    const pause = async () => {
      pauses += 1;
      if (pauses > 1) return;
      stopped.resolve();
      await resumed.promise;
    };
    const client = pausedAt(server.client(), method, when === 'after' ? 'after' : 'before', pause);
    const unanswered = pausedAt(client, method, 'after', async () => {
      if (when === 'unanswered' && pauses === 1) throw new RegistryError('unavailable', 'It did not answer.');
    });
    const { b, c } = await scene.managers(unanswered);
    const older = await scene.push();
    const newer = await scene.push();
    const first = await scene.publish(b, older);
    await stopped.promise;
    await scene.takeOver(c);
    const finalAt = async (id: typeof first) =>
      await until('the end', async () => {
        const build = await c.queue.build(id);
        return build !== undefined && isFinal(build.phase) && build;
      });
    expect(await finalAt(first)).toMatchObject({ phase: 'complete', digest: older });
    expect(await finalAt(await scene.publish(c, newer))).toMatchObject({ phase: 'complete', digest: newer });
    expect(await scene.served()).toBe(newer);
    resumed.resolve();
    await b.publisher.drain();
    expect(await scene.served()).toBe(newer);
    expect(await c.queue.build(first)).toMatchObject({ phase: 'complete', digest: older });
    await scene.end([b, c]);
  },
);

test('a manager that was stopped between its tries does not fail what another one publishes', async () => {
  const scene = await newScene();
  const stopped = Promise.withResolvers<void>();
  const resumed = Promise.withResolvers<void>();
  const failing = pausedAt(server.client(), 'getManifest', 'before', async () => {
    stopped.resolve();
    await resumed.promise;
    throw new RegistryError('unavailable', 'It does not answer.');
  });
  const { b, c } = await scene.managers(failing);
  const digest = await scene.push();
  const id = await scene.publish(b, digest);
  await stopped.promise;
  const held = Promise.withResolvers<void>();
  // C has it, and is not done with it.
  const slow = pausedAt(c.publisher, 'publish', 'before', async () => await held.promise);
  await scene.takeOver({ ...c, publisher: slow });
  resumed.resolve();
  await b.publisher.drain();
  expect(await c.queue.build(id)).toMatchObject({ phase: 'pushing' });
  held.resolve();
  await until('the end', async () => (await c.queue.build(id))?.phase === 'complete');
  await scene.end([b, c]);
});
