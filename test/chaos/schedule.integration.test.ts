import { expect, test } from 'vitest';
import { attemptFaultsOf, scheduleOf } from './schedule.ts';

const size = { minutes: 30, builds: 500, managers: 3, hosts: 3 };

test('the same seed makes the same schedule, another seed another one', () => {
  expect(scheduleOf(7, size)).toEqual(scheduleOf(7, size));
  expect(scheduleOf(7, size).faults).not.toEqual(scheduleOf(8, size).faults);
  expect(scheduleOf(7, size).builds).not.toEqual(scheduleOf(8, size).builds);
  expect(attemptFaultsOf(7, 3, 1)).toEqual(attemptFaultsOf(7, 3, 1));
});

test('a longer schedule does not change what is planned for builds', () => {
  const shorter = scheduleOf(7, size).builds.map(({ at: _, ...build }) => build);
  const longer = scheduleOf(7, { ...size, minutes: 60 }).builds.map(({ at: _, ...build }) => build);
  expect(longer).toEqual(shorter);
});

test('every kind of fault is drawn, and nothing happens twice at once to one process', () => {
  const { faults, duration } = scheduleOf(7, size);
  expect(new Set(faults.map(({ kind }) => kind))).toEqual(
    new Set([
      ...['kill', 'freeze', 'retire', 'postgres', 'redis', 'flush'],
      ...['cut', 'stall', 'slow', 'reset', 'clock'],
    ]),
  );
  const busy = new Map<string, number>();
  for (const fault of faults) {
    expect(fault.at).toBeLessThan(duration);
    if (fault.kind !== 'kill' && fault.kind !== 'freeze') continue;
    const name = `${fault.target.kind} ${fault.target.index}`;
    expect(busy.get(name) ?? 0).toBeLessThanOrEqual(fault.at);
    busy.set(name, fault.at + fault.for);
  }
});

test('attempts go wrong in every way, but most do not', () => {
  const all = Array.from({ length: 2_000 }, (_, build) => attemptFaultsOf(7, build, 1));
  expect(new Set(all.map(({ start }) => start.kind)).size).toBe(5);
  expect(new Set(all.map(({ worker }) => worker.kind)).size).toBe(4);
  const fine = all.filter(({ start, worker }) => start.kind === 'fine' && worker.kind === 'fine');
  expect(fine.length).toBeGreaterThan(1_000);
  expect(all.some(({ duplicates }) => duplicates)).toBe(true);
  expect(all.some(({ lateReports }) => lateReports !== undefined)).toBe(true);
});
