import { backOff } from '../base/back-off.ts';
import type { Outcome } from '../model/attempt.ts';
import type { ManagerSettings } from './settings.ts';

const refunded = { first: 1_000, cap: 30_000 };

/**
 * Milliseconds until the attempt after this one may begin. A fault of our own costs no try, so nothing but this keeps
 * one that stays from being run into again and again: it waits longer each time, whatever delay is configured.
 */
export function retryDelayOf(
  outcome: Outcome,
  epoch: number,
  { retryDelay }: Pick<ManagerSettings, 'retryDelay'>,
  random: () => number = Math.random,
): number {
  if (outcome.kind !== 'internal-error' || !outcome.refunded) return retryDelay;
  return Math.max(retryDelay, backOff(epoch - 1, { ...refunded, random }));
}
