import { describe, expect, test } from 'vitest';
import { type Digest, digestOf } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import { cachedTag } from './cached-tag.ts';
import { RegistryError } from './registry-error.ts';

const signal = new AbortController().signal;

function ask(existing: readonly string[], requested: readonly string[], recent?: string) {
  const registry = {
    digestOf: async (_: string, tag: Tag): Promise<Digest | undefined> =>
      existing.includes(tag) ? digestOf(tag) : undefined,
  };
  const history = { mostRecentTag: async () => recent as Tag | undefined };
  return cachedTag({ repository: 'a/b', requested: requested as Tag[] }, { registry, history }, signal);
}

describe('the cached tag is', () => {
  test('the first requested tag that exists', async () => {
    expect(await ask(['v1', 'v2'], ['v0', 'v2', 'v1'], 'v1')).toBe('v2');
  });
  test('else the most recently pushed one', async () => {
    expect(await ask(['v1'], ['v0'], 'v1')).toBe('v1');
  });
  test('none when that one was deleted, or nothing was pushed', async () => {
    expect(await ask([], ['v0'], 'v1')).toBe('');
    expect(await ask(['v1'], [])).toBe('');
  });
  test('not guessed when the registry cannot be asked', async () => {
    const registry = {
      digestOf: async (): Promise<Digest | undefined> => {
        throw new RegistryError('unavailable', 'gone');
      },
    };
    const history = { mostRecentTag: async () => undefined };
    const asked = cachedTag({ repository: 'a/b', requested: ['v1' as Tag] }, { registry, history }, signal);
    await expect(asked).rejects.toMatchObject({ code: 'unavailable' });
  });
});
