import fc from 'fast-check';
import { expect, test } from 'vitest';
import { localPath } from './local-path.ts';

test.each([
  ['/', '/'],
  ['/api/v1/docs?x=1#top', '/api/v1/docs?x=1#top'],
  ['/a/../b', '/b'],
  [undefined, '/'],
  ['', '/'],
  ['https://evil.example/', '/'],
  ['//evil.example', '/'],
  ['/\\evil.example', '/'],
  ['\\\\evil.example', '/'],
  ['/.//evil.example', '/'],
  ['/a/..//evil.example', '/'],
  ['/\t/evil.example', '/'],
  ['/\r\nset-cookie: x', '/'],
  [' /a', '/'],
  [`/${'a'.repeat(500)}`, '/'],
])('%j leads to %j', (wanted, path) => expect(localPath(wanted)).toBe(path));

test('nothing leads to another site', () => {
  const site = 'https://slipway.example';
  const text = fc.string({ unit: fc.constantFrom(...'/\\.:?#@%2fe5c \t\n\0äx') });
  fc.assert(
    fc.property(fc.oneof(text, fc.webUrl(), fc.string({ unit: 'binary' })), (wanted) => {
      for (const given of [wanted, `/${wanted}`]) {
        const path = localPath(given);
        expect(new URL(path, site).origin).toBe(site);
        expect(path).toMatch(/^\/[\x21-\x7e]*$/);
      }
    }),
    { numRuns: 2_000 },
  );
});
