import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { systemClock as clock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import { Masker } from '../log/mask.ts';
import { newUploadId } from '../model/ids.ts';
import { MemoryOrchestrator } from '../orchestrator/memory-orchestrator.ts';
import { request } from '../queue/build-queue.suite.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { UrlSigner } from '../upload/url-signer.ts';
import { WorkerSessionService, type WorkerSessionServiceOptions } from './worker-session-service.ts';

test('signed links and the passwords of registries are among what must not show in a log', async () => {
  await using scratch = await scratchMemory();
  await using queue = new SqlBuildQueue(scratch.database, {
    secretBox: new SecretBox({ key: randomBytes(32) }),
  });
  await queue.start();
  const secrets = [{ id: 'npm', value: Buffer.from('the-secret-of-a-build') }];
  await queue.enqueue(request(), { secrets });
  const [attempt] = await queue.claim({ manager: 'm', limit: 1, capacity: 1, lease: 60_000 });
  if (attempt === undefined) throw new Error('nothing was claimed');
  const password = 'the-password-of-a-registry';
  const service = new WorkerSessionService({
    queue,
    orchestrator: new MemoryOrchestrator({ clock }),
    credentials: { openings: [] },
    tokenOpenings: [],
    baseImages: {
      ofNamespace: async (namespace: string) =>
        namespace === 'team' ? [{ registry: 'r.example', username: 'u', password, insecure: false }] : [],
    },
  } as unknown as WorkerSessionServiceOptions);
  const { id: attemptId, buildId, jobId, epoch } = attempt;
  const path = `/userfiles/${newUploadId()}/${attemptId}/${epoch}`;
  // As another manager signs it.
  const link = new UrlSigner(randomBytes(32), clock).sign({
    method: 'GET',
    path,
    maxSize: 0,
    lifetime: 1_000,
  });
  const masker = new Masker(await service.secrets({ buildId, jobId, attemptId, epoch }));
  const text = `GET ${link} with ${password} and the-secret-of-a-build`;
  const masked = Buffer.concat([masker.write(Buffer.from(text)), masker.flush()]).toString();
  expect(masked).toMatch(/ with \*\*\* and \*\*\*$/);
  expect(masked).not.toContain(link.slice(link.indexOf('?')));
  await service.stop();
});
