import { expect, test } from 'vitest';
import type { ExecutorConfig } from '../config/config.ts';
import { runnableExecutorsOf } from './compose-executors.ts';

const local = { type: 'local', name: 'here' } as ExecutorConfig;

test('entries are kept in their order', () => {
  const second = { type: 'kubernetesPodman', name: 'there' } as ExecutorConfig;
  expect(runnableExecutorsOf([local, second])).toEqual([local, second]);
});

test.each(['ec2'] as const)('an entry of type %s is refused by its number and name', (type) => {
  const entry = { type, name: 'far-away' } as ExecutorConfig;
  expect(() => runnableExecutorsOf([local, entry])).toThrow(
    expect.objectContaining({
      code: 'not-supported',
      message: expect.stringMatching(new RegExp(`Entry 2 .*far-away.*EXECUTOR ${type},`)),
    }),
  );
});
