import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { FolderBlobStore } from '../blob/folder-blob-store.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import { request } from '../queue/build-queue.suite.ts';
import { UrlSigner } from '../upload/url-signer.ts';
import { composeStore } from './compose-store.ts';

const day = 86_400_000;

test('what is removed because it is old is in the audit log', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-store-'));
  const clock = new ManualClock(Date.now());
  const database = await Database.open({ provider: 'sqlite', file: ':memory:' });
  const store = composeStore({
    database,
    blobs: new FolderBlobStore({ folder }),
    secretBox: new SecretBox({ key: randomBytes(32) }),
    signer: new UrlSigner(randomBytes(32), clock),
    keepBuilds: 7 * day,
    clock,
    logger: pino({ level: 'silent' }),
  });
  await store.queue.start();
  try {
    const old = await store.queue.enqueue(request());
    await store.queue.cancel(old.id, 'test');
    await store.log.close(old.id);
    await clock.advance(8 * day);
    store.storeKeepers.start();
    while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(6 * 60_000);
    while ((await store.queue.build(old.id)) !== undefined)
      await new Promise((resolve) => setImmediate(resolve));
    await store.storeKeepers.stop();
    expect(await store.audit.records({ limit: 10 })).toMatchObject([
      {
        actor: { kind: 'system', name: 'retention' },
        action: 'builds.prune',
        result: 'done',
        detail: { builds: 1 },
      },
    ]);
  } finally {
    await store.storeKeepers.stop();
    await store.queue.stop();
    await database.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
