import { expect, test } from 'vitest';
import { runChaos } from './run.ts';
import { describeFault, scheduleOf } from './schedule.ts';

/** Another seed, or another length: SLIPWAY_CHAOS_SEED, SLIPWAY_CHAOS_MINUTES. */
const seed = Number(process.env.SLIPWAY_CHAOS_SEED ?? '20');
const minutes = Number(process.env.SLIPWAY_CHAOS_MINUTES ?? '3');
const size = { minutes, builds: 500, managers: 3, hosts: 3 };

test(
  'whatever fails, every build ends once, publishes once, and keeps its log',
  async ({ signal }) => {
    const schedule = scheduleOf(seed, size);
    const { violations, report, phases, samples } = await runChaos(schedule, { say: () => {}, signal });
    const again = `npm run chaos -- --seed ${seed} --minutes ${minutes} --builds ${size.builds}`;
    const faults = schedule.faults.map(describeFault).join('\n');
    expect(violations, `seed ${seed}; again: ${again}\n${report}\n\nThe schedule:\n${faults}`).toEqual([]);
    expect(Object.values(phases).reduce((sum, count) => sum + count, 0)).toBe(size.builds);
    // Faults cost tries, but a cluster that is never whole for long still builds most of what it is asked for.
    expect(phases.complete ?? 0).toBeGreaterThan(size.builds / 2);
    expect(samples).toBeGreaterThan((minutes * 60) / 3);
  },
  (minutes + 8) * 60_000,
);
