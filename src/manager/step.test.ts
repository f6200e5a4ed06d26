import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attemptStates, isRunning } from '../model/attempt.ts';
import { defaultSettings } from './settings.ts';
import { type Action, type Desired, type Observed, step } from './step.ts';

const settings = { ...defaultSettings, setupTimes: { quick: 10_000 } };
const t0 = 1_700_000_000_000;
const run: Desired = { kind: 'run' };
const cancel: Desired = { kind: 'cancel', by: 'ada' };

function observed(changes: Partial<Observed> = {}): Observed {
  return {
    state: 'building',
    epoch: 1,
    scheduledAt: t0,
    leaseUntil: t0 + settings.lease,
    supervisedSince: t0,
    lastSign: t0,
    worker: { kind: 'alive', startedAt: t0 },
    reportsItsEnd: true,
    lastLines: [],
    unserved: false,
    reporting: false,
    ...changes,
  };
}

const gone = {
  kind: 'gone',
  at: t0,
  reason: 'The worker was ended by signal SIGKILL.',
  signal: 'SIGKILL',
} as const;

describe('what is done', () => {
  const cases: readonly [string, Partial<Observed>, Desired, number, readonly unknown[]][] = [
    [
      'a claimed attempt is started',
      { state: 'scheduled', worker: { kind: 'none' } },
      run,
      0,
      [{ kind: 'start' }],
    ],
    [
      'a worker that does not register expires when its executor’s time is over',
      { state: 'scheduled', executor: 'quick', worker: { kind: 'alive', startedAt: t0 } },
      run,
      10_000,
      [
        {
          kind: 'finish',
          outcome: { kind: 'expired', at: 'scheduled', fault: { code: 'workernotregistered' } },
        },
      ],
    ],
    [
      'and another executor’s is waited for',
      { state: 'scheduled', executor: 'slow', worker: { kind: 'alive', startedAt: t0 } },
      run,
      499_999,
      [{ kind: 'extend-lease' }],
    ],
    [
      'a start under way is waited for',
      { state: 'scheduled', worker: { kind: 'starting' } },
      run,
      29_999,
      [],
    ],
    [
      'a start that never answers expires',
      { state: 'scheduled', worker: { kind: 'starting' } },
      run,
      30_000,
      [
        {
          kind: 'finish',
          outcome: { kind: 'expired', at: 'scheduled', fault: { code: 'workernotregistered' } },
        },
      ],
    ],
    ['a started worker has its set-up time', { state: 'scheduled', leaseUntil: t0 + 1e9 }, run, 499_999, []],
    [
      'a worker that does not register expires',
      { state: 'scheduled' },
      run,
      500_000,
      [
        {
          kind: 'finish',
          outcome: { kind: 'expired', at: 'scheduled', fault: { code: 'workernotregistered' } },
        },
      ],
    ],
    [
      'a worker that dies before it registers',
      { state: 'scheduled', worker: gone },
      run,
      0,
      [
        {
          kind: 'finish',
          outcome: { kind: 'internal-error', refunded: false, fault: { code: 'workernotregistered' } },
        },
      ],
    ],
    ...(['scheduled', 'registered'] as const).map((state): (typeof cases)[number] => [
      `a worker that ends ${state} after we could not answer it`,
      { state, worker: gone, unserved: true },
      run,
      0,
      [
        {
          kind: 'finish',
          outcome: { kind: 'internal-error', refunded: true, fault: { code: 'internalerror' } },
        },
      ],
    ]),
    [
      'a worker that is killed later on, although we could not answer it once',
      { worker: gone, unserved: true },
      run,
      0,
      [
        {
          kind: 'finish',
          outcome: { kind: 'internal-error', refunded: false, fault: { code: 'workerlost' } },
        },
      ],
    ],
    [
      'a worker that is killed',
      { worker: gone },
      run,
      0,
      [
        {
          kind: 'finish',
          outcome: { kind: 'internal-error', refunded: false, fault: { code: 'workerlost' } },
        },
      ],
    ],
    ['a worker that exits well may still be reporting', { worker: { ...gone, exitCode: 0 } }, run, 2_999, []],
    [
      'a worker that exits well but never reported',
      { worker: { ...gone, exitCode: 0 } },
      run,
      3_000,
      [{ kind: 'finish', outcome: { kind: 'internal-error', fault: { code: 'workerlost' } } }],
    ],
    [
      'while its report is looked into nothing is judged',
      { worker: gone, reporting: true },
      run,
      10_000_000,
      [{ kind: 'extend-lease' }],
    ],
    [
      'a worker of the shared protocol whose step failed',
      {
        worker: { kind: 'gone', at: t0, exitCode: 1, reason: 'exited' },
        reportsItsEnd: false,
        lastLines: ['STEP 2/2: RUN false', 'error building at STEP "RUN false": exit status 1'],
      },
      run,
      0,
      [{ kind: 'finish', outcome: { kind: 'error', fault: { code: 'builderror' } } }],
    ],
    [
      'a worker of the shared protocol that was killed',
      { worker: gone, reportsItsEnd: false, lastLines: ['exit status 1'] },
      run,
      0,
      [{ kind: 'finish', outcome: { kind: 'internal-error', fault: { code: 'workerlost' } } }],
    ],
    ['heartbeats come', { lastSign: t0 + 100_000, leaseUntil: t0 + 1e9 }, run, 159_999, []],
    [
      'heartbeats stop',
      { lastSign: t0 + 100_000 },
      run,
      160_000,
      [{ kind: 'finish', outcome: { kind: 'expired', at: 'building', fault: { code: 'workerlost' } } }],
    ],
    [
      'after an adoption the silence counts anew',
      { supervisedSince: t0 + 100_000 },
      run,
      100_000,
      [{ kind: 'extend-lease', until: t0 + 400_000 }],
    ],
    [
      'too long is the user’s',
      { lastSign: t0 + 7_200_000 },
      run,
      7_200_000,
      [{ kind: 'finish', outcome: { kind: 'error', fault: { code: 'toolong' } } }],
    ],
    ['a lease moves by a minute or not at all', {}, run, 59_999, []],
    [
      'a lease moves by a minute',
      { lastSign: t0 + 60_000 },
      run,
      60_000,
      [{ kind: 'extend-lease', until: t0 + 360_000 }],
    ],
    ['a cancel is told first', {}, cancel, 0, [{ kind: 'tell-cancel' }]],
    ['a cancel that was told is waited for', { cancelToldAt: t0 }, cancel, 2_999, []],
    [
      'a cancel is enforced',
      { cancelToldAt: t0 },
      cancel,
      3_000,
      [{ kind: 'finish', outcome: { kind: 'cancelled', by: 'ada' } }],
    ],
    [
      'a cancelled worker that is gone',
      { worker: gone },
      cancel,
      0,
      [{ kind: 'finish', outcome: { kind: 'cancelled', by: 'ada' } }],
    ],
    [
      'a cancel before the worker registered',
      { state: 'scheduled' },
      cancel,
      0,
      [{ kind: 'finish', outcome: { kind: 'cancelled', by: 'ada' } }],
    ],
    ['nothing is done about what is over', { state: 'done', worker: gone }, cancel, 1e9, []],
    ['nothing is done about what waits', { state: 'queued', worker: { kind: 'none' } }, run, 1e9, []],
  ];

  test.each(cases)('%s', (_, changes, desired, after, expected) => {
    const actions = step(observed(changes), desired, t0 + after, settings);
    expect(actions).toHaveLength(expected.length);
    expect(actions).toMatchObject(expected);
  });

  test('a lost worker’s last words reach the reader', () => {
    const worker = { ...gone, output: 'Segmentation fault' };
    const [action] = step(observed({ worker }), run, t0, settings);
    expect(action?.kind === 'finish' && 'fault' in action.outcome && action.outcome.fault.message).toContain(
      'Segmentation fault',
    );
  });
});

const offset = fc.integer({ min: 0, max: 10_000_000 }).map((ms) => t0 + ms);
const anyObserved: fc.Arbitrary<Observed> = fc.record(
  {
    state: fc.constantFrom(...attemptStates),
    epoch: fc.constant(1),
    scheduledAt: offset,
    leaseUntil: offset,
    supervisedSince: offset,
    lastSign: offset,
    worker: fc.oneof(
      fc.constant({ kind: 'none' } as const),
      fc.constant({ kind: 'starting' } as const),
      fc.record({ kind: fc.constant('alive' as const), startedAt: offset }),
      fc.record(
        {
          kind: fc.constant('gone' as const),
          at: offset,
          reason: fc.string(),
          exitCode: fc.integer({ min: 0, max: 255 }),
        },
        { requiredKeys: ['kind', 'at', 'reason'] },
      ),
    ),
    reportsItsEnd: fc.boolean(),
    lastLines: fc.array(fc.constantFrom('exit status 1', 'no space left on device', 'hello'), {
      maxLength: 3,
    }),
    unserved: fc.boolean(),
    reporting: fc.boolean(),
    cancelToldAt: offset,
  },
  {
    requiredKeys: [
      'state',
      'epoch',
      'scheduledAt',
      'leaseUntil',
      'supervisedSince',
      'worker',
      'reportsItsEnd',
      'lastLines',
      'unserved',
      'reporting',
    ],
  },
);
const anyDesired: fc.Arbitrary<Desired> = fc.constantFrom(run, cancel);

const finishes = (actions: readonly Action[]) => actions.filter(({ kind }) => kind === 'finish');

describe('whatever is observed', () => {
  test('an attempt is finished at most once, and then nothing else is done to it', () => {
    fc.assert(
      fc.property(anyObserved, anyDesired, offset, (seen, desired, now) => {
        const actions = step(seen, desired, now, settings);
        if (finishes(actions).length > 0) expect(actions).toHaveLength(1);
        if (!isRunning(seen.state)) expect(actions).toEqual([]);
        if (seen.reporting) expect(finishes(actions)).toEqual([]);
      }),
      { numRuns: 5000 },
    );
  });

  test('what is finished now would be finished at any later time', () => {
    fc.assert(
      fc.property(anyObserved, anyDesired, offset, fc.nat(10_000_000), (seen, desired, now, later) => {
        if (finishes(step(seen, desired, now, settings)).length === 0) return;
        expect(finishes(step(seen, desired, now + later, settings))).toHaveLength(1);
      }),
      { numRuns: 5000 },
    );
  });

  test('a lease only ever grows, by a minute or more', () => {
    fc.assert(
      fc.property(anyObserved, anyDesired, offset, (seen, desired, now) => {
        for (const action of step(seen, desired, now, settings)) {
          if (action.kind === 'extend-lease')
            expect(action.until - seen.leaseUntil).toBeGreaterThanOrEqual(60_000);
        }
      }),
      { numRuns: 5000 },
    );
  });

  test('a person’s cancel is never turned into another end', () => {
    fc.assert(
      fc.property(anyObserved, offset, (seen, now) => {
        for (const action of step(seen, cancel, now, settings)) {
          if (action.kind === 'finish') expect(action.outcome).toEqual({ kind: 'cancelled', by: 'ada' });
          expect(action.kind).not.toBe('start');
        }
      }),
      { numRuns: 5000 },
    );
  });

  test('every running attempt ends in bounded time when nothing more is heard of it', () => {
    fc.assert(
      fc.property(anyObserved, anyDesired, (seen, desired) => {
        if (!isRunning(seen.state) || seen.reporting) return;
        let state = seen;
        const end = t0 + 10_000_000 + settings.machineMaxTime + 1;
        for (const now of [end, end + settings.cancelGrace]) {
          const actions = step(state, desired, now, settings);
          if (finishes(actions).length === 1) return;
          if (actions.some(({ kind }) => kind === 'tell-cancel')) state = { ...state, cancelToldAt: now };
        }
        expect.unreachable('the attempt would run for ever');
      }),
      { numRuns: 5000 },
    );
  });
});

describe('a lease', () => {
  // What SLIPWAY.LEASE may be.
  const anyLease = fc.integer({ min: 30_000, max: 3_600_000 });

  test('of any allowed length is extended before it runs out, though a look is late and a write is lost', () => {
    fc.assert(
      fc.property(
        anyLease,
        fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 50 }),
        (lease, gaps) => {
          let leaseUntil = t0 + lease;
          let now = t0;
          let lost = false;
          for (const gap of [...gaps, ...Array.from({ length: 4_000 }, () => settings.poll)]) {
            now += gap;
            if (now >= leaseUntil) throw new Error(`a lease of ${lease} ms ran out`);
            const seen = observed({ scheduledAt: now, lastSign: now, leaseUntil });
            for (const action of step(seen, run, now, { ...settings, lease })) {
              if (action.kind !== 'extend-lease') continue;
              // Every other one does not get through at once.
              lost = !lost;
              if (!lost) leaseUntil = action.until;
            }
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test('is not written at every look', () => {
    fc.assert(
      fc.property(anyLease, (lease) => {
        const seen = observed({ leaseUntil: t0 + lease, lastSign: t0 });
        expect(step(seen, run, t0 + 9_999, { ...settings, lease })).toEqual([]);
      }),
    );
  });
});
