import { expect, test } from 'vitest';
import { phases } from '../model/phase.ts';
import { commitStatusOf } from './commit-status.ts';

test('every phase has a status, and its description is short enough for every host', () => {
  const fault = { code: 'builderror', message: `${'long '.repeat(60)}\nsecond line` } as const;
  for (const phase of phases) {
    const { state, description } = commitStatusOf(phase, fault);
    expect(['pending', 'success', 'failure', 'error']).toContain(state);
    expect(description.length).toBeLessThanOrEqual(140);
    expect(description).not.toContain('second');
  }
  expect(commitStatusOf('complete', undefined).state).toBe('success');
  expect(commitStatusOf('error', undefined).state).toBe('failure');
  expect(commitStatusOf('expired', undefined).state).toBe('error');
});
