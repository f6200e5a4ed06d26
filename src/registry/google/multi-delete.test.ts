import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Answer, document, escapeXml, refusal } from './answer.ts';
import { multiDelete, parseMultiDelete } from './multi-delete.ts';

const bodyOf = (keys: readonly string[]) =>
  `<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${keys
    .map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`)
    .join('')}<Quiet>false</Quiet></Delete>`;

test('every key that can be written can be read', () => {
  const key = fc.string({ minLength: 1, unit: 'binary' }).filter((text) => text.isWellFormed());
  fc.assert(
    fc.property(fc.array(key, { minLength: 1, maxLength: 20 }), (keys) => {
      expect(parseMultiDelete(bodyOf(keys))).toEqual(keys);
    }),
  );
});

test('what is no list of keys is refused', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(parseMultiDelete(text)).toBeUndefined();
      expect(parseMultiDelete(`<Delete>${text}</Delete>`)).toBeUndefined();
    }),
  );
  expect(parseMultiDelete(bodyOf(Array.from({ length: 1_001 }, () => 'key')))).toBeUndefined();
  const version = '<Delete><Object><Key>a</Key><VersionId>1</VersionId></Object></Delete>';
  expect(parseMultiDelete(version)).toBeUndefined();
});

const keys = Array.from({ length: 100 }, (_, index) => `a&b/${index}`);

async function removed(answerOf: (key: string) => Answer): Promise<{ answer: Answer; most: number }> {
  let running = 0;
  let most = 0;
  const answer = await multiDelete(keys, async (key) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    return answerOf(key);
  });
  return { answer, most };
}

test('many are removed, 16 at a time; what was gone before counts as removed', async () => {
  const { answer, most } = await removed((key) =>
    key.endsWith('7') ? refusal(404, 'NoSuchKey', 'gone') : { status: 204, body: '' },
  );
  expect(most).toBe(16);
  expect(answer.status).toBe(200);
  expect(answer.body.match(/<Deleted><Key>a&#38;b\/\d+<\/Key><\/Deleted>/g)).toHaveLength(100);
});

test.each([
  [429, 'SlowDown'],
  [503, 'ServiceUnavailable'],
  [403, 'AccessDenied'],
  [404, 'NoSuchBucket'],
])('one that is not removed makes the answer that of Google: %i %s', async (status, code) => {
  const asked: string[] = [];
  const { answer } = await removed((key) => {
    asked.push(key);
    return key === keys[20] ? refusal(status, code, 'no') : { status: 204, body: '' };
  });
  expect(answer).toEqual(refusal(status, code, 'no'));
  expect(asked.length).toBeLessThan(100);
});

test('an answer that makes no sense is a fault', async () => {
  expect((await removed(() => document(301, ''))).answer.status).toBe(502);
});
