import fc from 'fast-check';
import { expect, test } from 'vitest';
import { redactTokensIn } from './redact-tokens.ts';

test.each([
  ['slp_', 'A'.repeat(43)],
  ['slr_', `${'b-_'.repeat(14)}c`],
  ['ghp_', 'secret'],
  ['github_pat_', '11AA_0123456789'],
  ['glpat-', 'x1y2z3x1y2z3'],
])('hides what follows %s', (prefix, secret) => {
  expect(redactTokensIn(`it was ${prefix}${secret}, no?`)).toBe(`it was ${prefix}REDACTED, no?`);
  expect(redactTokensIn(`kim+${prefix}${secret}`)).not.toContain(secret);
});

test('leaves names and addresses as they are', () => {
  for (const text of [
    'acme/web',
    'kim+ci',
    'https://git.example/a/b.git',
    'ghost_town',
    'slp',
    'global-team',
  ])
    expect(redactTokensIn(text)).toBe(text);
});

test('nothing of a token is left, wherever it stands', () => {
  fc.assert(
    fc.property(fc.string(), fc.base64String({ minLength: 20 }), fc.string(), (before, random, after) => {
      const secret = random.replace(/[^A-Za-z0-9]/g, 'x');
      expect(redactTokensIn(`${before}slp_${secret} ${after}`)).not.toContain(`slp_${secret}`);
    }),
  );
});
