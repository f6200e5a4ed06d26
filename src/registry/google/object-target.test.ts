import fc from 'fast-check';
import { expect, test } from 'vitest';
import { copySource, objectTarget } from './object-target.ts';

test('a key on the wire holds only what the signature leaves as it is, and comes back as it was', () => {
  const key = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => text.isWellFormed());
  fc.assert(
    fc.property(key, (text) => {
      const target = objectTarget('images', text);
      expect(target).toMatch(/^\/images\/(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+$/);
      expect(copySource(target, 'images')).toBe(text);
    }),
  );
});

test.each(['other/key', 'imagesx/key', '/other/images/key', 'images', 'images/key?versionId=1', 'images/%'])(
  'nothing is copied from %s',
  (header) => {
    expect(copySource(header, 'images')).toBeUndefined();
  },
);
