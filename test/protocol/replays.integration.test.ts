import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Build } from '../../src/model/build.ts';
import { isFinal } from '../../src/model/phase.ts';
import { scratchFile, scratchPostgres } from '../harness/scratch-database.ts';
import { BatchClient } from './batch-client.ts';
import { openRig, type Rig, type StartedAttempt, until } from './rig.ts';
import { type Answer, SharedClient } from './shared-client.ts';

/** What was said to one manager, said again to another one that never heard of it. */

const answered = (success: boolean, sequence: number) => ({
  kind: 'reply',
  reply: { success, sequence_number: sequence },
});
const taken: Answer = {
  kind: 'status',
  code: 'UNAUTHENTICATED',
  details: 'Invalid build token: a worker has registered with this token already',
};

describe.each([
  ['SQLite', scratchFile],
  ['PostgreSQL', scratchPostgres],
] as const)('two managers on %s', (_name, open) => {
  let rig: Rig;
  let hostOfB: string;
  let a: SharedClient;
  let b: SharedClient;
  let batchesOfB: BatchClient;
  let build: Build;
  let started: StartedAttempt;

  beforeAll(async () => {
    rig = await openRig({ open });
    hostOfB = (await rig.join()).host;
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    a = new SharedClient(rig.host);
    b = new SharedClient(hostOfB);
    batchesOfB = new BatchClient(hostOfB);
    build = await rig.enqueue({ push: false });
    started = await rig.started(build);
  });
  afterEach(async () => {
    await rig.queue.cancel(build.id, 'test');
    rig.exit(started, 1);
    await until('the end of the build', async () => isFinal((await rig.build(build)).phase));
    for (const client of [a, b, batchesOfB]) client[Symbol.dispose]();
  });

  async function registered(client: SharedClient): Promise<string> {
    const answer = await client.register(started.token);
    if (answer.kind !== 'reply') throw new Error(answer.details);
    return String(answer.reply.job_jwt);
  }

  /** The call changes nothing that a worker could change. */
  async function withoutEffect<T>(call: () => Promise<T>): Promise<T> {
    const before = await rig.rows();
    const answer = await call();
    expect(await rig.rows()).toEqual(before);
    return answer;
  }

  const state = async () => (await rig.queue.attempt(started.identity.attemptId))?.state;

  describe('a registration', () => {
    test.each([
      ['beat', (token: string) => a.heartbeat(token)],
      ['logged', (token: string) => a.log(token, 1, 'mine')],
      ['asked for the cached tag', (token: string) => a.cachedTag(token)],
    ])('is refused by another manager once its worker has %s', async (_what, call) => {
      const token = await registered(a);
      expect((await call(token)).kind).toBe('reply');
      expect(await withoutEffect(() => b.register(started.token))).toEqual(taken);
      expect(await withoutEffect(() => a.register(started.token))).toEqual(taken);
      expect(await b.heartbeat(token)).toMatchObject({ reply: { reply: true } });
    });

    test('may be repeated at another manager while its answer may have been lost', async () => {
      await registered(a);
      const token = await registered(b);
      expect(await a.heartbeat(token)).toMatchObject({ reply: { reply: true } });
      expect(await withoutEffect(() => a.register(started.token))).toEqual(taken);
    });

    test('of two live workers lets the first one go on that is heard, whoever hears it', async () => {
      const [one, two] = [await registered(a), await registered(b)];
      expect(await b.heartbeat(two)).toMatchObject({ reply: { reply: true } });
      for (const [client, sequence] of [
        [a, 1],
        [b, 2],
      ] as const) {
        expect(await withoutEffect(() => client.heartbeat(one))).toEqual(taken);
        expect(await withoutEffect(() => client.setPhase(one, sequence, 'COMPLETE'))).toEqual(taken);
        expect(await withoutEffect(() => client.log(one, 1, 'of the other one'))).toEqual(taken);
        expect(await withoutEffect(() => client.cachedTag(one))).toEqual(taken);
      }
      expect(await withoutEffect(() => batchesOfB.log(one, 1, 'of the other one'))).toEqual(taken);
      expect(await batchesOfB.log(two, 1, 'mine')).toEqual(answered(true, 1));
      expect(await a.setPhase(two, 1, 'BUILDING')).toEqual(answered(true, 1));
    });

    test('of many workers at once leaves one of them the attempt', async () => {
      const tokens = await Promise.all([a, b, a, b, a, b].map((client) => registered(client)));
      const answers = await Promise.all(
        tokens.map((token, index) => (index % 2 === 0 ? b : a).heartbeat(token)),
      );
      expect(answers.filter(({ kind }) => kind === 'reply')).toHaveLength(1);
      expect(answers.filter(({ kind }) => kind !== 'reply')).toEqual(tokens.slice(1).map(() => taken));
    });
  });

  describe('a sequence number of a phase', () => {
    // One each: what a manager has answered once it remembers by itself.
    test.each(['PULLING', 'UNPACKING', 'BUILDING', 'COMPLETE', 'ERROR'])(
      'that moved the attempt moves it no more at another manager, as %s',
      async (phase) => {
        const token = await registered(a);
        await a.setPhase(token, 1, 'PULLING');
        await b.heartbeat(token);
        expect(await withoutEffect(() => b.setPhase(token, 1, phase))).toEqual(answered(true, 1));
        expect(await state()).toBe('pulling');
        expect(await b.setPhase(token, 2, 'BUILDING')).toEqual(answered(true, 2));
        expect(await withoutEffect(() => a.setPhase(token, 2, 'COMPLETE'))).toEqual(answered(true, 2));
        expect(await state()).toBe('building');
        expect(await a.setPhase(token, 3, 'COMPLETE')).toEqual(answered(true, 3));
      },
    );
  });
});
