import { parseArgs } from 'node:util';
import { parseClockJumps, usualJumps } from './clock-jumps.ts';
import { buildsOf, newSeed, replayOf } from './replay.ts';
import { runChaos } from './run.ts';
import { describeFault, scheduleOf } from './schedule.ts';

/**
 * `npm run chaos -- --seed N --minutes M [--builds B] [--managers K] [--hosts H] [--clock-jumps small|large] [--plan]`:
 * one run of the fault runner. Without a seed one is drawn and printed; the same seed and sizes make the same schedule.
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string', default: '3' },
    builds: { type: 'string' },
    managers: { type: 'string', default: '3' },
    hosts: { type: 'string', default: '3' },
    'clock-jumps': { type: 'string', default: usualJumps },
    plan: { type: 'boolean', default: false },
  },
});

function whole(name: string, text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new Error(`--${name} takes a whole number, not "${text}"`);
  return Number(text);
}

const minutes = Number(values.minutes);
if (!(minutes > 0)) throw new Error(`--minutes takes a number over 0, not "${values.minutes}"`);
const seed = values.seed === undefined ? newSeed() : whole('seed', values.seed);
const schedule = scheduleOf(seed, {
  minutes,
  builds: values.builds === undefined ? buildsOf(minutes) : whole('builds', values.builds),
  managers: whole('managers', values.managers),
  hosts: whole('hosts', values.hosts),
  jumps: parseClockJumps(values['clock-jumps']),
});
const replay = replayOf(seed, schedule.size);
if (values.plan) {
  console.log(`seed ${seed} (again: ${replay})`);
  for (const fault of schedule.faults) console.log(describeFault(fault));
} else {
  const begun = performance.now();
  const ended = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.once(name, () => ended.abort(new Error(`${name}: the run was ended early`)));
  const { violations, report, ...counts } = await runChaos(schedule, {
    say: (line) => console.log(`${((performance.now() - begun) / 1000).toFixed(1).padStart(6)}  ${line}`),
    signal: ended.signal,
  });
  console.log(JSON.stringify(counts));
  if (violations.length > 0) {
    console.log(report);
    console.log(`${violations.length} violations with seed ${seed} (again: ${replay})`);
    process.exitCode = 1;
  } else console.log(`every invariant held with seed ${seed}`);
}
