import { expect, test } from 'vitest';
import { unwrap } from './log-message.ts';

test.each([
  [{ stream: 'a', status: 'b', error: 'c' }, 'c', true],
  [{ stream: 'a', error: 'c' }, 'c', true],
  [{ status: 'b', error: 'c' }, 'c', true],
  [{ stream: 'a', status: 'b' }, 'b', false],
  [{ stream: 'a' }, 'a', false],
  // What is empty says nothing, so the next one is asked; an empty stream is an empty line.
  [{ stream: 'a', status: '', error: '' }, 'a', false],
  [{ status: 'b', error: '' }, 'b', false],
  [{ stream: '', status: '', error: '' }, '', false],
  // What is no text is not there.
  [{ error: { code: 1 }, status: 5, stream: 'a' }, 'a', false],
])('of %j the first of error, status and stream is said', (value, text, error) => {
  expect(unwrap(JSON.stringify(value))).toEqual({ text, error });
  // Whatever the order they are written in.
  const reversed = Object.fromEntries(Object.entries(value).reverse());
  expect(unwrap(JSON.stringify(reversed))).toEqual({ text, error });
});

test.each(['no JSON', '', '5', 'null', '"text"', '["stream"]', '{"other":"a"}', '{"status":""}', '{'])(
  'what has none of them is the line itself: %j',
  (line) => {
    expect(unwrap(line)).toEqual({ text: line, error: false });
  },
);
