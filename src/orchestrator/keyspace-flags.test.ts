import fc from 'fast-check';
import { expect, test } from 'vitest';
import { withExpiryEvents } from './keyspace-flags.ts';

test('adds what is missing and keeps what is there', () => {
  expect(withExpiryEvents('')).toBe('Kx');
  expect(withExpiryEvents('Kx')).toBeUndefined();
  expect(withExpiryEvents('AKE')).toBeUndefined();
  expect(withExpiryEvents('AK')).toBeUndefined();
  expect(withExpiryEvents('AE')).toBe('AEK');
  expect(withExpiryEvents('E$')).toBe('E$Kx');
  expect(withExpiryEvents('K')).toBe('Kx');
  expect(withExpiryEvents('g$lshzxe')).toBe('g$lshzxeK');
  expect(withExpiryEvents('mn')).toBe('mnKx');
});

test('whatever is set stays set, expiries are told, and a second time adds nothing', () => {
  const flags = fc.uniqueArray(fc.constantFrom(...'KEg$lshzxetdmnA')).map((letters) => letters.join(''));
  fc.assert(
    fc.property(flags, (before) => {
      const after = withExpiryEvents(before) ?? before;
      expect(after.startsWith(before)).toBe(true);
      expect(after).toMatch(/K/);
      expect(after).toMatch(/[xA]/);
      expect(withExpiryEvents(after)).toBeUndefined();
      expect(new Set(after).size).toBe(after.length);
    }),
  );
});
