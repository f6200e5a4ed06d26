import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseChallenge } from './oci-authorization.ts';

test.each([
  [
    'Bearer realm="https://r/t",service="s"',
    { scheme: 'bearer', parameters: { realm: 'https://r/t', service: 's' } },
  ],
  ['Basic realm=plain', { scheme: 'basic', parameters: { realm: 'plain' } }],
  ['BASIC', { scheme: 'basic', parameters: {} }],
  [
    'Bearer realm="a,b=\\"c\\"" , Scope = "x y"',
    { scheme: 'bearer', parameters: { realm: 'a,b="c"', scope: 'x y' } },
  ],
  ['', undefined],
  ['"quoted"', undefined],
])('%s', (header, challenge) => {
  expect(parseChallenge(header)).toEqual(challenge);
});

test('values survive being quoted', () => {
  const value = fc.string({ unit: fc.constantFrom('a', '"', '\\', ',', '=', ' ', ':', '/') });
  fc.assert(
    fc.property(value, value, (realm, scope) => {
      const quote = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;
      expect(parseChallenge(`Bearer realm=${quote(realm)}, scope=${quote(scope)}`)).toEqual({
        scheme: 'bearer',
        parameters: { realm, scope },
      });
    }),
  );
});
