import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { Database } from '../db/database.ts';
import { digestOf } from '../model/digest.ts';
import { escapeTag } from '../model/tag.ts';
import { SqlPushHistory } from './sql-push-history.ts';

let database: Database;
let history: SqlPushHistory;
const clock = new ManualClock();

beforeEach(async () => {
  database = await Database.open({ provider: 'sqlite', file: ':memory:' });
  history = new SqlPushHistory(database, clock);
});

afterEach(async () => {
  await database.stop();
});

async function push(repository: string, tag: string | undefined): Promise<void> {
  await clock.advance(10);
  const named = tag === undefined ? {} : { tag: escapeTag(tag) };
  await history.record({
    repository,
    ...named,
    digest: digestOf(String(clock.now())),
    mediaType: 'm',
    pusher: 'p',
  });
}

test('the tag pushed last is told, each repository for itself', async () => {
  await push('a/one', 'latest');
  await push('a/one', 'v1');
  await push('a/two', 'other');
  expect(await history.mostRecentTag('a/one')).toBe('v1');
  await push('a/one', 'latest');
  expect(await history.mostRecentTag('a/one')).toBe('latest');
  expect(await history.mostRecentTag('a/two')).toBe('other');
});

test('a push by digest moves no tag', async () => {
  await push('a/one', 'v1');
  await push('a/one', undefined);
  expect(await history.mostRecentTag('a/one')).toBe('v1');
  expect(await history.mostRecentTag('a/none')).toBeUndefined();
});
