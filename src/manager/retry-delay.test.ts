import { describe, expect, test } from 'vitest';
import type { Outcome } from '../model/attempt.ts';
import { retryDelayOf } from './retry-delay.ts';

const fault = { code: 'internalerror', message: 'It failed.' } as const;
const ours: Outcome = { kind: 'internal-error', fault, refunded: true };
const most = (outcome: Outcome, retryDelay: number) =>
  [1, 2, 3, 6, 9].map((epoch) => retryDelayOf(outcome, epoch, { retryDelay }, () => 1));

describe('the delay before another attempt', () => {
  test('is the configured one when the attempt has cost a try', () => {
    const infrastructure: Outcome = { kind: 'internal-error', fault, refunded: false };
    const expired: Outcome = { kind: 'expired', at: 'building', fault };
    for (const outcome of [infrastructure, expired]) {
      expect(most(outcome, 0)).toEqual([0, 0, 0, 0, 0]);
      expect(most(outcome, 30_000)).toEqual([30_000, 30_000, 30_000, 30_000, 30_000]);
    }
  });

  test('grows up to half a minute when it has cost none', () => {
    expect(most(ours, 0)).toEqual([1_000, 2_000, 4_000, 30_000, 30_000]);
    expect(most(ours, 3_000)).toEqual([3_000, 3_000, 4_000, 30_000, 30_000]);
    expect(retryDelayOf(ours, 1, { retryDelay: 0 })).toBeGreaterThanOrEqual(500);
  });
});
