import fc from 'fast-check';
import { expect, test } from 'vitest';
import { withExpiryEvents } from './keyspace-flags.ts';

test('adds what is missing and keeps what is there', () => {
  expect(withExpiryEvents('')).toBe('Ex');
  expect(withExpiryEvents('Ex')).toBeUndefined();
  expect(withExpiryEvents('AKE')).toBeUndefined();
  expect(withExpiryEvents('AE')).toBeUndefined();
  expect(withExpiryEvents('AK')).toBe('AKE');
  expect(withExpiryEvents('K$')).toBe('K$Ex');
  expect(withExpiryEvents('E')).toBe('Ex');
  expect(withExpiryEvents('g$lshzxe')).toBe('g$lshzxeE');
  expect(withExpiryEvents('mn')).toBe('mnEx');
});

test('whatever is set stays set, expiries are told, and a second time adds nothing', () => {
  const flags = fc.uniqueArray(fc.constantFrom(...'KEg$lshzxetdmnA')).map((letters) => letters.join(''));
  fc.assert(
    fc.property(flags, (before) => {
      const after = withExpiryEvents(before) ?? before;
      expect(after.startsWith(before)).toBe(true);
      expect(after).toMatch(/E/);
      expect(after).toMatch(/[xA]/);
      expect(withExpiryEvents(after)).toBeUndefined();
      expect(new Set(after).size).toBe(after.length);
    }),
  );
});
