import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digestOf, parseDigest } from './digest.ts';

test('the digest of known bytes', () => {
  expect(digestOf('abc')).toBe('sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(digestOf(new Uint8Array([97, 98, 99]))).toBe(digestOf('abc'));
});

test('every digest that is computed parses', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(parseDigest(digestOf(bytes))).toBe(digestOf(bytes));
    }),
  );
});

test.each([
  '',
  'sha256:',
  `sha256:${'a'.repeat(63)}`,
  `sha256:${'a'.repeat(65)}`,
  `sha256:${'A'.repeat(64)}`,
  `sha512:${'a'.repeat(128)}`,
  `sha256:${'a'.repeat(64)}\n`,
  'a'.repeat(64),
])('refuses %j', (text) => {
  expect(parseDigest(text)).toBeUndefined();
});
