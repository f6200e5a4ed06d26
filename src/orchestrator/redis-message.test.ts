import fc from 'fast-check';
import { expect, test } from 'vitest';
import { newAttemptId, newBuildId } from '../model/ids.ts';
import { formatMessage, parseMessage, type RedisMessage } from './redis-message.ts';

test('what is sent is what is read', () => {
  const message: RedisMessage = {
    from: 'a manager',
    events: [
      { kind: 'cancel', attemptId: newAttemptId() },
      { kind: 'unserved', attemptId: newAttemptId() },
      { kind: 'log', buildId: newBuildId() },
      { kind: 'expired', attemptId: newAttemptId() },
    ],
    forgotten: [newAttemptId()],
  };
  expect(parseMessage(formatMessage(message))).toEqual(message);
});

test('anything else is no message, and what is unknown in one is left out', () => {
  for (const text of ['', 'null', '[]', '7', '"text"', '{', '{"from":1}']) {
    expect(parseMessage(text)).toBeUndefined();
  }
  const attemptId = newAttemptId();
  const text = JSON.stringify({
    from: 'newer',
    events: [
      null,
      { kind: 'moon' },
      { kind: 'cancel', attemptId: 'x' },
      { kind: 'log' },
      { kind: 'cancel', attemptId },
    ],
    forgotten: [1, 'no id'],
  });
  expect(parseMessage(text)).toEqual({
    from: 'newer',
    events: [{ kind: 'cancel', attemptId }],
    forgotten: [],
  });
});

test('no text makes the reader throw', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      const read = parseMessage(text);
      expect(read === undefined || Array.isArray(read.events)).toBe(true);
    }),
  );
});
