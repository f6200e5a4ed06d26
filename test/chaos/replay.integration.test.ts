import { expect, test } from 'vitest';
import { buildsOf, ChaosFailure, replayOf, seedOf } from './replay.ts';

test('even a short run makes 500 builds', () => {
  expect(buildsOf(0.1)).toBe(500);
  expect(buildsOf(1)).toBe(500);
  expect(buildsOf(10)).toBe(1_800);
});

test('the replay command has the seed and every size', () => {
  const size = { minutes: 3, builds: 500, managers: 4, hosts: 2, jumps: 'large' } as const;
  const command = replayOf(20, size);
  for (const part of [
    '--seed 20',
    '--minutes 3',
    '--builds 500',
    '--managers 4',
    '--hosts 2',
    '--clock-jumps large',
  ])
    expect(command).toContain(part);
  expect(new ChaosFailure(command, new Error('it hangs')).message).toMatch(/it hangs\nagain: .*--seed 20/);
});

test('a seed is a number, or drawn', () => {
  expect(seedOf('20')).toBe(20);
  expect(Number.isInteger(seedOf('random'))).toBe(true);
  expect(() => seedOf('')).toThrow(/whole number/);
});
