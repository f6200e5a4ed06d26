import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isNamespace } from '../model/repository-name.ts';
import { userNameLike } from './external-name.ts';

test.each([
  ['Kim', 'kim'],
  ["Kim.Ö'Neil@example.com", 'kim.o-neil'],
  ['__kim__', 'kim'],
  ['a..b', 'a-b'],
  ['x', 'user-x'],
  ['山田', 'user'],
  ['$oauthtoken', 'oauthtoken'],
  ['../../etc', 'etc'],
])('%j becomes %j', (name, expected) => expect(userNameLike(name)).toBe(expected));

test('whatever somebody is called becomes a user name', () => {
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (name) => isNamespace(userNameLike(name))));
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'aZ09._-@ ö') }), (name) =>
      isNamespace(userNameLike(name)),
    ),
  );
});
