import { expect, test } from 'vitest';
import { newAttemptId } from '../model/ids.ts';
import { BeatBook } from './beat-book.ts';

const attempt = newAttemptId();
const ids = (book: BeatBook, now: number) => book.due(now).map(({ attemptId }) => attemptId);

test('a first beat is due at once, the next ones seldom, and the last one surely', () => {
  const book = new BeatBook();
  book.hear(attempt, 60_000, 0);
  const [first] = book.due(0);
  expect(first).toEqual({ attemptId: attempt, at: 0, ttl: 60_000, key: true });
  book.written(book.due(0), 0);
  expect(book.due(5_000)).toEqual([]);
  expect(book.nextDue(5_000)).toBeUndefined();
  for (const now of [2_000, 4_000]) book.hear(attempt, 60_000, now);
  expect(ids(book, 4_000)).toEqual([]);
  expect(book.nextDue(4_000)).toBe(10_000);
  expect(book.due(10_000)).toEqual([{ attemptId: attempt, at: 4_000, ttl: 60_000, key: false }]);
  book.written(book.due(10_000), 10_000);
  expect(book.nextDue(10_000)).toBe(20_000);
  expect(book.due(20_000)[0]?.key).toBe(true);
});

test('a beat after a long silence is due at once, and so is another time to live', () => {
  const book = new BeatBook();
  book.hear(attempt, 60_000, 0);
  book.written(book.due(0), 0);
  book.hear(attempt, 60_000, 50_000);
  expect(ids(book, 50_000)).toEqual([attempt]);
  book.written(book.due(50_000), 50_000);
  book.hear(attempt, 100, 50_010);
  expect(ids(book, 50_010)).toEqual([attempt]);
});

test('what another process heard is known and not written', () => {
  const book = new BeatBook();
  book.learn(attempt, 100, 60_000);
  expect(book.get(attempt)).toMatchObject({ at: 100, ttl: 60_000 });
  expect(book.due(200)).toEqual([]);
  book.learn(attempt, 50, 60_000);
  expect(book.get(attempt)?.at).toBe(100);
  book.hear(attempt, 60_000, 300);
  expect(ids(book, 300)).toEqual([attempt]);
});

test('the echo of an own beat leaves it an own one', () => {
  const book = new BeatBook();
  book.hear(attempt, 60_000, 1_000);
  book.written(book.due(1_000), 1_000);
  book.learn(attempt, 1_003, 60_000);
  expect(book.get(attempt)?.at).toBe(1_000);
  book.unwritten();
  expect(ids(book, 1_010)).toEqual([attempt]);
});

test('what ended stays ended for what was before, and begins again with a later beat', () => {
  const book = new BeatBook();
  book.hear(attempt, 1_000, 0);
  book.end(attempt, 500);
  expect(book.hasEnded(attempt)).toBe(true);
  book.learn(attempt, 400, 1_000);
  expect(book.get(attempt)).toBeUndefined();
  expect(book.overdue(10_000, 0)).toEqual([]);
  book.learn(attempt, 600, 1_000);
  expect(book.get(attempt)?.at).toBe(600);
  expect(book.hasEnded(attempt)).toBe(false);
});

test('ends are not remembered for ever', () => {
  const book = new BeatBook();
  book.end(attempt, 0);
  book.end(newAttemptId(), 60_001);
  expect(book.hasEnded(attempt)).toBe(false);
});

test('time is up when it is up, counted from when silence counts', () => {
  const book = new BeatBook();
  book.hear(attempt, 1_000, 0);
  expect(book.overdue(999, 0)).toEqual([]);
  expect(book.overdue(1_000, 0)).toEqual([attempt]);
  expect(book.overdue(1_000, 500)).toEqual([]);
  expect(book.overdue(1_500, 500)).toEqual([attempt]);
  expect(book.due(1_000)).toEqual([]);
});
