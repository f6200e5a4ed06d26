import { expect, test } from 'vitest';
import { usualJumps } from './clock-jumps.ts';
import { buildsOf, replayOf, seedOf } from './replay.ts';
import { runChaos } from './run.ts';
import { describeFault, scheduleOf } from './schedule.ts';

/** Another seed (a number, or `random`), or another length: SLIPWAY_CHAOS_SEED, SLIPWAY_CHAOS_MINUTES. */
const seed = seedOf(process.env.SLIPWAY_CHAOS_SEED ?? '20');
const minutes = Number(process.env.SLIPWAY_CHAOS_MINUTES ?? '3');
const size = { minutes, builds: buildsOf(minutes), managers: 3, hosts: 3, jumps: usualJumps };

test(
  'whatever fails, every build ends once, publishes once, and keeps its log',
  async ({ signal }) => {
    const schedule = scheduleOf(seed, size);
    const { violations, report, phases, superseded, samples, archived, bodies } = await runChaos(schedule, {
      say: () => {},
      signal,
    });
    const again = `seed ${seed}; again: ${replayOf(seed, size)}`;
    const faults = schedule.faults.map(describeFault).join('\n');
    expect(violations, `${again}\n${report}\n\nThe schedule:\n${faults}`).toEqual([]);
    const ended = Object.values(phases).reduce((sum, count) => sum + count, 0);
    expect(ended, again).toBe(size.builds);
    // Faults cost tries, but a cluster that is never whole for long still builds most of what can be built.
    const buildable = schedule.builds.filter(
      ({ nature, cancelAfter, line }) =>
        cancelAfter === undefined && line === undefined && (nature === 'complete' || nature === 'unpushed'),
    );
    expect(phases.complete ?? 0, again).toBeGreaterThan(buildable.length * 0.7);
    expect(superseded, again).toBeGreaterThan(0);
    expect(archived, again).toBe(size.builds);
    expect(samples, again).toBeGreaterThan((minutes * 60) / 3);
    // A fifth of the workers knows only the shared protocol, and some have a process of their own.
    expect(bodies.reference, again).toBeGreaterThan(size.builds / 10);
    expect(bodies.process, again).toBeGreaterThan(size.builds / 20);
  },
  (minutes + 10) * 60_000,
);
