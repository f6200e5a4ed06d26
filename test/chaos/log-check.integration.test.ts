import { expect, test } from 'vitest';
import type { LogEntry } from '../../src/log/log-store.ts';
import { attemptMark } from './attempt-engine.ts';
import { faultsOfLog, type LogToCheck } from './log-check.ts';
import { lateWords } from './wiretap.ts';

const phase = (message: string, epoch?: number): LogEntry => ({
  type: 'phase',
  message,
  ...(epoch === undefined ? {} : { data: { epoch } }),
});
const line = (message: string): LogEntry => ({ message });

/** Two attempts: the first was lost after two lines, the second one is complete. */
const good: LogToCheck = {
  closed: true,
  phase: 'complete',
  work: { dockerfile: '', building: ['L 0', 'L 1', 'L 2'], pushing: ['P 0'] },
  secret: 'rosebud',
  attempts: [
    { id: 'one', epoch: 1, complete: false, pushed: false, acknowledged: 2 },
    { id: 'two', epoch: 2, complete: true, pushed: true, acknowledged: 4 },
  ],
  entries: [
    ...[phase('build-scheduled', 1), phase('unpacking'), line(`${attemptMark}one`), phase('pulling')],
    ...[
      phase('building'),
      line('L 0'),
      line('L 1'),
      { type: 'error', message: 'The worker was lost.' } as const,
    ],
    ...[phase('build-scheduled', 2), phase('unpacking'), line(`${attemptMark}two`), phase('building')],
    ...[line('L 0'), line('L 1'), line('L 2'), phase('pushing'), line('P 0'), phase('complete')],
  ],
};

test('a log with all its lines has no fault', () => {
  expect(faultsOfLog(good)).toEqual([]);
});

const without = (at: number) => good.entries.filter((_, index) => index !== at);
const withOne = (at: number, entry: LogEntry) => good.entries.toSpliced(at, 0, entry);

test.each<[string, Partial<LogToCheck>, RegExp]>([
  ['is open', { closed: false }, /not closed/],
  ['ends otherwise than the build', { phase: 'cancelled' }, /last entry/],
  ['goes on after its end', { entries: [...good.entries, phase('complete')] }, /is not the last/],
  ['misses a line', { entries: without(13) }, /line 1 is L 2 and not L 1/],
  ['misses the last line', { entries: without(16) }, /complete and said 4 lines, 3 are there/],
  ['misses what was said before the push', { entries: without(14) }, /line 2 is P 0/],
  ['has a line twice', { entries: withOne(13, line('L 0')) }, /line 1 is L 0 and not L 1/],
  ['has lines out of order', { entries: withOne(12, line('L 1')) }, /line 0 is L 1 and not L 0/],
  ['misses an acknowledged line', { entries: without(6) }, /2 lines were acknowledged, 1 are there/],
  ['has the old attempt speak again', { entries: withOne(14, line(`${attemptMark}one`)) }, /a second time/],
  ['has an unknown attempt', { attempts: good.attempts.slice(1) }, /no attempt of the build/],
  ['has lines of nobody', { entries: withOne(0, line('L 0')) }, /before any attempt/],
  [
    'has a phase of the old attempt',
    { entries: withOne(12, phase('unpacking')) },
    /unpacking comes after building/,
  ],
  ['has a phase twice', { entries: withOne(12, phase('building')) }, /building comes after building/],
  [
    'has an old registration',
    { entries: withOne(14, phase('build-scheduled', 1)) },
    /epoch 1 is registered after/,
  ],
  [
    'has words from after the end',
    { entries: withOne(14, line(`${lateWords} one`)) },
    /after the end of its attempt/,
  ],
  [
    'shows a token',
    { entries: withOne(14, line(`it is eyJ${'a'.repeat(20)}.eyJ${'b'.repeat(30)}.${'c'.repeat(40)}`)) },
    /shows a token/,
  ],
  ['shows the secret', { entries: withOne(14, line('it is rosebud')) }, /shows a secret/],
])('a log that %s is found out', (_, change, fault) => {
  expect(faultsOfLog({ ...good, ...change }).join('\n')).toMatch(fault);
});
