import { expect, test } from 'vitest';
import { threeHours } from './clock-jumps.ts';
import { attemptFaultsOf, natureOf, numberOf, scheduleOf } from './schedule.ts';

const size = { minutes: 30, builds: 500, managers: 3, hosts: 3, jumps: 'small' } as const;

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
  for (const build of scheduleOf(7, size).builds) expect(natureOf(7, numberOf(build))).toBe(build.nature);
});

test('some builds ask for the same thing as those right before them, and nothing else has their tags', () => {
  const { builds } = scheduleOf(7, size);
  const lines = Map.groupBy(
    builds.filter(({ line }) => line !== undefined),
    ({ line }) => line,
  );
  expect(lines.size).toBeGreaterThan(5);
  for (const [line, members] of lines) {
    expect(members.map(({ index }) => index)).toEqual(members.map((_, at) => (line ?? 0) + at));
    const of = ({ namespace, repository, tags, nature }: (typeof members)[0]) =>
      JSON.stringify([namespace, repository, tags, nature]);
    expect(new Set(members.map(of)).size).toBe(1);
  }
  const owners = Map.groupBy(
    builds.flatMap((build) => build.tags.map((tag) => ({ tag, owner: numberOf(build) }))),
    ({ tag }) => tag,
  );
  for (const uses of owners.values()) expect(new Set(uses.map(({ owner }) => owner)).size).toBe(1);
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
  expect(new Set(all.map(({ duplicates }) => duplicates)).size).toBe(3);
  const share = (body: string) => all.filter((faults) => faults.body === body).length / all.length;
  expect(share('reference')).toBeCloseTo(0.2, 1);
  expect(share('process')).toBeCloseTo(0.1, 1);
  const processes = all.filter(({ body }) => body === 'process');
  expect(new Set(processes.map(({ process }) => process.kind)).size).toBe(3);
  expect(all.some(({ lateReports }) => lateReports !== undefined)).toBe(true);
});

test('clocks jump by up to 90 s, or beyond every lease when that is asked for', () => {
  const offsets = (jumps: 'small' | 'large') =>
    scheduleOf(7, { ...size, jumps }).faults.flatMap((fault) => (fault.kind === 'clock' ? fault.offset : []));
  expect(Math.max(...offsets('small').map(Math.abs))).toBeLessThanOrEqual(90_000);
  const large = offsets('large');
  expect(large.filter((offset) => offset === threeHours)).toHaveLength(1);
  const beyondLease = large.filter((offset) => offset !== threeHours && Math.abs(offset) > 300_000);
  expect(Math.max(...beyondLease)).toBeLessThanOrEqual(600_000);
  expect(Math.min(...beyondLease)).toBeGreaterThanOrEqual(-600_000);
  expect(beyondLease.some((offset) => offset < 0) && beyondLease.some((offset) => offset > 0)).toBe(true);
});
