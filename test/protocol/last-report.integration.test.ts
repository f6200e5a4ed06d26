import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Build } from '../../src/model/build.ts';
import { scratchFile, scratchPostgres } from '../harness/scratch-database.ts';
import { openRig, type Rig } from './rig.ts';
import { SharedClient } from './shared-client.ts';

const success = (sequence: number) => ({
  kind: 'reply',
  reply: { success: true, sequence_number: sequence },
});

/** A last report whose answer was lost, repeated: what any manager answers is that it was taken, whatever came of it. */
describe.each([
  ['SQLite', scratchFile],
  ['PostgreSQL', scratchPostgres],
] as const)('the last report, repeated at another manager, on %s', (_name, open) => {
  let rig: Rig;
  let other: string;
  beforeAll(async () => {
    rig = await openRig({
      open,
      settings: { retryDelay: 600_000, publishTries: 1, publishBackOff: 10 },
    });
    other = (await rig.join()).host;
  });
  afterAll(async () => await rig[Symbol.asyncDispose]());

  async function workerOf(build: Build) {
    const { token } = await rig.started(build);
    const a = new SharedClient(rig.host);
    const b = new SharedClient(other);
    const answer = await a.register(token);
    if (answer.kind !== 'reply') throw new Error(answer.details);
    const dispose = () => {
      for (const client of [a, b]) client[Symbol.dispose]();
    };
    return { a, b, token: String(answer.reply.job_jwt), [Symbol.dispose]: dispose };
  }

  test('COMPLETE of an image that the registry does not have', async () => {
    using worker = await workerOf(await rig.enqueue({ push: true }));
    for (const client of [worker.a, worker.a, worker.b])
      expect(await client.setPhase(worker.token, 1, 'COMPLETE')).toEqual(success(1));
    // Not what it reported.
    expect(await worker.b.setPhase(worker.token, 2, 'ERROR')).toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  test('COMPLETE under another number', async () => {
    using worker = await workerOf(await rig.enqueue({ push: false }));
    expect(await worker.a.setPhase(worker.token, 1, 'COMPLETE')).toEqual(success(1));
    expect(await worker.b.setPhase(worker.token, 1, 'COMPLETE')).toEqual(success(1));
    expect(await worker.a.setPhase(worker.token, 2, 'COMPLETE')).toEqual(success(2));
  });

  test('COMPLETE that came after the wish to cancel', async () => {
    const build = await rig.enqueue({ push: false });
    using worker = await workerOf(build);
    await rig.queue.cancel(build.id, 'ann');
    for (const client of [worker.a, worker.b])
      expect(await client.setPhase(worker.token, 1, 'COMPLETE')).toEqual(success(1));
    expect(await rig.final(build)).toMatchObject({ phase: 'cancelled' });
  });
});
