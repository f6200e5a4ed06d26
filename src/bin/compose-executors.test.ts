import { expect, test } from 'vitest';
import type { ExecutorConfig } from '../config/config.ts';
import { localExecutorsOf } from './compose-executors.ts';

const local = { type: 'local', name: 'here' } as ExecutorConfig;

test('local entries are kept in their order', () => {
  const second = { type: 'local', name: 'there' } as ExecutorConfig;
  expect(localExecutorsOf([local, second])).toEqual([local, second]);
});

test.each(['kubernetes', 'kubernetesPodman', 'ec2'] as const)(
  'an entry of type %s is refused by its number and name',
  (type) => {
    const entry = { type, name: 'far-away' } as ExecutorConfig;
    expect(() => localExecutorsOf([local, entry])).toThrow(
      expect.objectContaining({
        code: 'not-supported',
        message: expect.stringMatching(new RegExp(`Entry 2 .*far-away.*EXECUTOR ${type},`)),
      }),
    );
  },
);
