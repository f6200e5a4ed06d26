import { describe, expect, it } from 'vitest';
import { parseGitRef } from './git-ref.ts';

describe('parseGitRef', () => {
  it.each([
    ['', { kind: 'head' }],
    ['HEAD', { kind: 'head' }],
    ['A'.repeat(40), { kind: 'commit', sha: 'a'.repeat(40) }],
    ['refs/heads/feature/x', { kind: 'full', ref: 'refs/heads/feature/x' }],
    ['feature/x', { kind: 'name', name: 'feature/x', maybeCommit: false }],
    ['v1.2.3', { kind: 'name', name: 'v1.2.3', maybeCommit: false }],
    ['abcdef1', { kind: 'name', name: 'abcdef1', maybeCommit: true }],
  ])('reads %s', (text, expected) => {
    expect(parseGitRef(text)).toEqual(expected);
  });

  it.each([
    '-x',
    '--upload-pack=x',
    'a..b',
    'a:b',
    '+a',
    '^a',
    'a~1',
    'a^',
    '@{-1}',
    '@',
    'a b',
    'a\nb',
    '*',
    'a/',
    '/a',
    'a//b',
    '.a',
    'a.lock',
    'a/-b',
    'x'.repeat(300),
  ])('refuses %s', (text) => {
    expect(() => parseGitRef(text)).toThrow(expect.objectContaining({ code: 'gitcheckout' }));
  });
});
