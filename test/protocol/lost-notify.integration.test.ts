import { expect, test } from 'vitest';
import { Database } from '../../src/db/database.ts';
import { TcpProxy } from '../fakes/tcp-proxy.ts';
import { type ScratchDatabase, scratchPostgres } from '../harness/scratch-database.ts';
import { openRig } from './rig.ts';
import { SharedClient } from './shared-client.ts';

/** A database whose connections pass, but what is notified on the ones that listen is lost for good. */
async function scratchWithoutNotify(): Promise<ScratchDatabase> {
  const scratch = await scratchPostgres();
  const { options } = scratch;
  if (options.provider !== 'postgres') throw new Error('this test needs PostgreSQL');
  const url = new URL(options.url);
  const proxy = await TcpProxy.open({ targets: [Number(url.port)], deafAfter: 'listen slipway_queue' });
  url.host = `127.0.0.1:${proxy.port}`;
  const database = await Database.open({ ...options, url: url.href });
  return {
    database,
    options: { ...options, url: url.href },
    async [Symbol.asyncDispose]() {
      await database.stop();
      await proxy.close();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/** Milliseconds: the poll finds what there is in this time, and a test has some patience on top. */
const poll = 1_000;
const patience = 5_000;

test('without any notification, the poll finds what waits, what ended and what is to be cancelled', async () => {
  await using rig = await openRig({
    open: scratchWithoutNotify,
    settings: { poll, allowedWorkerCount: 1 },
  });
  let heard = 0;
  rig.queue.onChange(() => {
    heard += 1;
  });
  const begun = performance.now();
  const first = await rig.enqueue({ push: false });
  const second = await rig.enqueue({ push: false });
  const started = await rig.started(first);
  expect(performance.now() - begun).toBeLessThan(patience);

  using client = new SharedClient(rig.host);
  const answer = await client.register(started.token);
  if (answer.kind !== 'reply') throw new Error(answer.details);
  expect(await client.setPhase(String(answer.reply.job_jwt), 1, 'COMPLETE')).toMatchObject({ kind: 'reply' });
  rig.exit(started, 0);
  expect(await rig.final(first)).toMatchObject({ phase: 'complete' });

  const ended = performance.now();
  await rig.started(second);
  expect(performance.now() - ended).toBeLessThan(patience);
  const cancelled = performance.now();
  await rig.queue.cancel(second.id, 'ann');
  expect(await rig.final(second)).toMatchObject({ phase: 'cancelled', cancelledBy: 'ann' });
  expect(performance.now() - cancelled).toBeLessThan(patience);
  expect(heard).toBe(0);
});
