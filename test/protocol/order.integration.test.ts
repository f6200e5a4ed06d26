import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Build } from '../../src/model/build.ts';
import { scratchFile, scratchPostgres } from '../harness/scratch-database.ts';
import { openRig, type Rig, type StartedAttempt } from './rig.ts';
import { SharedClient } from './shared-client.ts';

/** Reports and log messages that come twice, late, out of order, or not at all. */

const answered = (success: boolean, sequence: number) => ({
  kind: 'reply',
  reply: { success, sequence_number: sequence },
});
const over = {
  kind: 'status',
  code: 'UNAUTHENTICATED',
  details: 'Invalid build token: the attempt is over',
};

describe.each([
  ['SQLite', scratchFile],
  ['PostgreSQL', scratchPostgres],
] as const)('on %s', (_name, open) => {
  let rig: Rig;
  let client: SharedClient;
  let build: Build;
  let started: StartedAttempt;
  let token: string;

  beforeAll(async () => {
    rig = await openRig({ open });
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    client = new SharedClient(rig.host);
    build = await rig.enqueue({ push: false });
    started = await rig.started(build);
    const answer = await client.register(started.token);
    if (answer.kind !== 'reply') throw new Error(answer.details);
    token = String(answer.reply.job_jwt);
  });
  afterEach(async () => {
    await rig.queue.cancel(build.id, 'test');
    rig.exit(started, 1);
    client[Symbol.dispose]();
  });

  const state = async () => (await rig.queue.attempt(started.identity.attemptId))?.state;

  /** The call changes not a row. */
  async function withoutEffect<T>(call: () => Promise<T>): Promise<T> {
    const before = await rig.rows();
    const answer = await call();
    expect(await rig.rows()).toEqual(before);
    return answer;
  }

  describe('a phase', () => {
    test('moves the attempt, with a heading in the log', async () => {
      for (const [index, phase] of ['UNPACKING', 'PULLING', 'BUILDING', 'PUSHING'].entries()) {
        expect(await client.setPhase(token, index + 1, phase)).toEqual(answered(true, index + 1));
        expect(await state()).toBe(phase.toLowerCase());
      }
      expect(await client.setPhase(token, 5, 'COMPLETE')).toEqual(answered(true, 5));
      const { phase, entries } = await rig.final(build);
      expect(phase).toBe('complete');
      expect(entries.map(({ message, type }) => [type, message])).toEqual(
        ['build-scheduled', 'unpacking', 'pulling', 'building', 'pushing', 'complete'].map((message) => [
          'phase',
          message,
        ]),
      );
    });

    test('of a sequence number that was there is answered as it was and changes nothing', async () => {
      await client.setPhase(token, 1, 'PULLING');
      expect(await withoutEffect(() => client.setPhase(token, 1, 'PULLING'))).toEqual(answered(true, 1));
      expect(await withoutEffect(() => client.setPhase(token, 1, 'BUILDING'))).toEqual(answered(true, 1));
      expect(await withoutEffect(() => client.setPhase(token, 1, 'COMPLETE'))).toEqual(answered(true, 1));
      expect(await state()).toBe('pulling');
    });

    test('that is the current one is answered success and changes nothing', async () => {
      await client.setPhase(token, 1, 'PULLING');
      expect(await withoutEffect(() => client.setPhase(token, 2, 'PULLING'))).toEqual(answered(true, 2));
    });

    test('behind the current one is answered success and changes nothing', async () => {
      await client.setPhase(token, 1, 'BUILDING');
      for (const [index, phase] of ['UNPACKING', 'PULLING', 'UNPACKING'].entries()) {
        const answer = await withoutEffect(() => client.setPhase(token, 2 + index, phase));
        expect(answer).toEqual(answered(true, 2 + index));
      }
      expect(await state()).toBe('building');
    });

    test('may skip others, and its number may skip too', async () => {
      expect(await client.setPhase(token, 7, 'BUILDING')).toEqual(answered(true, 7));
      expect(await state()).toBe('building');
      expect(await client.setPhase(token, 3, 'PUSHING')).toEqual(answered(true, 3));
      expect(await state()).toBe('pushing');
    });

    test('WAITING, and one that nobody knows, are answered without success and change nothing', async () => {
      expect(await withoutEffect(() => client.setPhase(token, 1, 'WAITING'))).toEqual(answered(false, 1));
      expect(await withoutEffect(() => client.setPhase(token, 2, 99))).toEqual(answered(false, 2));
      expect(await client.setPhase(token, 2, 'UNPACKING')).toEqual(answered(true, 2));
    });

    test('after the last one is refused and changes nothing; the last one repeated is answered', async () => {
      await client.setPhase(token, 1, 'COMPLETE');
      await rig.final(build);
      expect(await withoutEffect(() => client.setPhase(token, 1, 'COMPLETE'))).toEqual(answered(true, 1));
      // Its answer may have been lost with the manager that gave it.
      expect(await withoutEffect(() => client.setPhase(token, 2, 'COMPLETE'))).toEqual(answered(true, 2));
      for (const phase of ['UNPACKING', 'PUSHING', 'ERROR']) {
        expect(await withoutEffect(() => client.setPhase(token, 3, phase))).toEqual(over);
      }
      expect((await rig.build(build)).phase).toBe('complete');
    });

    test('ERROR alone is an error of the user: no other attempt is made', async () => {
      await client.setPhase(token, 1, 'BUILDING');
      expect(await client.setPhase(token, 2, 'ERROR')).toEqual(answered(true, 2));
      const final = await rig.final(build);
      expect(final).toMatchObject({ phase: 'error', fault: { code: 'builderror' } });
      expect(final.jobs[0]?.attempts).toHaveLength(1);
      expect(await withoutEffect(() => client.setPhase(token, 2, 'ERROR'))).toEqual(answered(true, 2));
      expect(await withoutEffect(() => client.setPhase(token, 3, 'COMPLETE'))).toEqual(over);
    });

    test('that is sent many times at once happens once', async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => client.setPhase(token, 1, 'PULLING')),
      );
      expect(answers).toEqual(answers.map(() => answered(true, 1)));
      await client.setPhase(token, 2, 'COMPLETE');
      const { entries } = await rig.final(build);
      expect(entries.filter(({ message }) => message === 'pulling')).toHaveLength(1);
    });
  });

  describe('a log message', () => {
    const lines = async () => {
      const { entries } = await rig.log.read(build.id, 0, 1000);
      return entries.filter(({ type }) => type !== 'phase').map(({ message }) => message);
    };

    test('is in the log when it is answered, in order', async () => {
      for (let sequence = 1; sequence <= 5; sequence += 1) {
        expect(await client.log(token, sequence, `line ${sequence}`)).toEqual(answered(true, sequence));
        expect(await lines()).toHaveLength(sequence);
      }
      expect(await lines()).toEqual(['line 1', 'line 2', 'line 3', 'line 4', 'line 5']);
    });

    test('of a sequence number that was there is answered success and changes nothing', async () => {
      await client.log(token, 1, 'one');
      await client.log(token, 2, 'two');
      expect(await withoutEffect(() => client.log(token, 2, 'two'))).toEqual(answered(true, 2));
      expect(await withoutEffect(() => client.log(token, 1, 'another'))).toEqual(answered(true, 1));
      expect(await lines()).toEqual(['one', 'two']);
    });

    test('after a gap is answered without success and changes nothing; the missing one helps', async () => {
      await client.log(token, 1, 'one');
      expect(await withoutEffect(() => client.log(token, 3, 'three'))).toEqual(answered(false, 3));
      expect(await withoutEffect(() => client.log(token, 1_000_000, 'far'))).toEqual(
        answered(false, 1_000_000),
      );
      expect(await client.log(token, 2, 'two')).toEqual(answered(true, 2));
      expect(await client.log(token, 3, 'three')).toEqual(answered(true, 3));
      expect(await lines()).toEqual(['one', 'two', 'three']);
    });

    test('that is sent many times at once is in the log once', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => client.log(token, 1, 'once')));
      expect(answers).toEqual(answers.map(() => answered(true, 1)));
      expect(await lines()).toEqual(['once']);
    });

    test('after the end is refused and changes nothing', async () => {
      await client.log(token, 1, 'one');
      await client.setPhase(token, 1, 'COMPLETE');
      await rig.final(build);
      expect(await withoutEffect(() => client.log(token, 2, 'late'))).toEqual(over);
      expect(await withoutEffect(() => client.log(token, 1, 'one'))).toMatchObject({
        code: 'UNAUTHENTICATED',
      });
      expect(await lines()).toEqual(['one']);
    });
  });
});
