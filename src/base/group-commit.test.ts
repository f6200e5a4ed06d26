import { describe, expect, it } from 'vitest';
import { GroupCommit } from './group-commit.ts';

describe('group commit', () => {
  /** Every group waits until the test lets it go. */
  function held(options: Partial<ConstructorParameters<typeof GroupCommit<string, string>>[0]> = {}) {
    const groups: { items: readonly string[]; go: () => void; fail: (thrown: unknown) => void }[] = [];
    const commit = new GroupCommit<string, string>({
      commit: (items) =>
        new Promise((resolve, reject) => {
          groups.push({ items, go: () => resolve(items.map((item) => item.toUpperCase())), fail: reject });
        }),
      ...options,
    });
    return { commit, groups };
  }
  const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

  it('does what comes in one turn together, and what comes meanwhile after that', async () => {
    const { commit, groups } = held();
    const first = [commit.submit('a'), commit.submit('b')];
    await turn();
    const second = [commit.submit('c'), commit.submit('d')];
    await turn();
    expect(groups.map(({ items }) => items)).toEqual([['a', 'b']]);
    groups[0]?.go();
    expect(await Promise.all(first)).toEqual(['A', 'B']);
    await turn();
    expect(groups.map(({ items }) => items)).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
    groups[1]?.go();
    expect(await Promise.all(second)).toEqual(['C', 'D']);
  });

  it('answers nobody before the group is done', async () => {
    const { commit, groups } = held();
    let answered = false;
    const asked = commit.submit('a').then(() => {
      answered = true;
    });
    await turn();
    expect(answered).toBe(false);
    groups[0]?.go();
    await asked;
  });

  it('keeps groups within their number and weight, and lets an item go alone that is too heavy', async () => {
    const { commit, groups } = held({ most: 3, weight: { of: ({ length }) => length, most: 4 }, lanes: 9 });
    for (const item of ['a', 'b', 'c', 'd', 'ee', 'fff', 'ggggg']) void commit.submit(item);
    for (let n = 0; n < 9; n += 1) await turn();
    expect(groups.map(({ items }) => items)).toEqual([['a', 'b', 'c'], ['d', 'ee'], ['fff'], ['ggggg']]);
  });

  it('waits a little for more once groups are large, and no longer than for enough', async () => {
    const gather = { milliseconds: 60_000, busy: 2, enough: 3 };
    const { commit, groups } = held({ gather });
    const items = () => groups.map((group) => group.items.join(''));
    void commit.submit('a');
    await turn();
    void commit.submit('b');
    void commit.submit('c');
    groups[0]?.go();
    await turn();
    // The one before was small.
    expect(items()).toEqual(['a', 'bc']);
    void commit.submit('d');
    groups[1]?.go();
    await turn();
    void commit.submit('e');
    await turn();
    expect(items()).toEqual(['a', 'bc']);
    void commit.submit('f');
    await turn();
    expect(items()).toEqual(['a', 'bc', 'def']);
  });

  it('begins with what there is when its wait is over', async () => {
    const { commit, groups } = held({ gather: { milliseconds: 5, busy: 1, enough: 9 } });
    void commit.submit('a');
    await turn();
    groups[0]?.go();
    void commit.submit('b');
    await expect.poll(() => groups.map((group) => group.items.join(''))).toEqual(['a', 'b']);
  });

  it('has one item of a key under way at most, in their order', async () => {
    const { commit, groups } = held({ key: (item) => item.charAt(0), lanes: 4 });
    for (const item of ['a1', 'b1', 'a2', 'a3']) void commit.submit(item);
    for (let n = 0; n < 4; n += 1) await turn();
    expect(groups.map(({ items }) => items)).toEqual([['a1', 'b1']]);
    groups[0]?.go();
    for (let n = 0; n < 4; n += 1) await turn();
    expect(groups.at(-1)?.items).toEqual(['a2']);
    groups[1]?.go();
    for (let n = 0; n < 4; n += 1) await turn();
    expect(groups.at(-1)?.items).toEqual(['a3']);
  });

  it('lets only the item fail whose fault it is', async () => {
    const commit = new GroupCommit<string, string>({
      commit: async (items) => {
        if (items.includes('bad')) throw new RangeError('bad');
        return items;
      },
      mayDivide: (thrown) => thrown instanceof RangeError,
    });
    const answers = await Promise.allSettled(['a', 'bad', 'b'].map((item) => commit.submit(item)));
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('does not try one by one what would fail for each of them', async () => {
    let groups = 0;
    const commit = new GroupCommit<string, string>({
      commit: async () => {
        groups += 1;
        throw new TypeError('gone');
      },
      mayDivide: (thrown) => thrown instanceof RangeError,
    });
    const answers = await Promise.allSettled(['a', 'b', 'c'].map((item) => commit.submit(item)));
    expect(answers.every(({ status }) => status === 'rejected')).toBe(true);
    expect(groups).toBe(1);
  });
});
