import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ScratchDatabase, scratchPostgres } from '../../test/harness/scratch-database.ts';
import { queueSurveySuite } from './queue-survey.suite.ts';
import { surveyQueue } from './queue-survey.ts';

queueSurveySuite('the survey of the queue in PostgreSQL', scratchPostgres);

let scratch: ScratchDatabase;
beforeEach(async () => {
  scratch = await scratchPostgres();
});
afterEach(async () => await scratch[Symbol.asyncDispose]());

test('the pool says how many connections are there, in use, and waited for', async () => {
  const { database } = scratch;
  const asked = Array.from({ length: 12 }, async () => await surveyQueue(database, 0));
  await Promise.any(asked);
  const during = database.connections();
  expect(during?.busy).toBeGreaterThan(0);
  expect(during?.waiting).toBeGreaterThan(0);
  await Promise.all(asked);
  const after = database.connections();
  expect(after).toMatchObject({ busy: 0, waiting: 0 });
  expect(after?.idle).toBeGreaterThan(0);
  expect(after?.idle).toBeLessThanOrEqual(10);
});
