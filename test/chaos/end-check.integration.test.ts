import { expect, test } from 'vitest';
import type { Outcome } from '../../src/model/attempt.ts';
import type { FaultCode } from '../../src/model/fault.ts';
import { type EndedAttempt, type EndToCheck, faultsOfEnd } from './end-check.ts';
import type { AttemptFaults } from './schedule.ts';

const fine: AttemptFaults = {
  start: { kind: 'fine' },
  worker: { kind: 'fine' },
  duplicates: 'none',
  body: 'agent',
  process: { kind: 'fine' },
};
const complete: Outcome = { kind: 'complete' };
const failed = (code: FaultCode, refunded = false): Outcome => ({
  kind: 'internal-error',
  fault: { code, message: 'said so' },
  refunded,
});
const expired: Outcome = {
  kind: 'expired',
  at: 'building',
  fault: { code: 'workerlost', message: 'silent' },
};
const userError: Outcome = { kind: 'error', fault: { code: 'builderror', message: 'said so' } };

function attempts(...outcomes: readonly Outcome[]): readonly EndedAttempt[] {
  return outcomes.map((outcome, at) => ({ epoch: at + 1, outcome, faults: fine, disturbed: true }));
}

function check(changes: Partial<EndToCheck>): string[] {
  return faultsOfEnd({
    nature: 'complete',
    phase: 'complete',
    fault: undefined,
    cancel: 'none',
    attempts: attempts(complete),
    ...changes,
  });
}

test.each<[string, Partial<EndToCheck>]>([
  ['is complete', {}],
  ['is complete after tries that were lost', { attempts: attempts(failed('workerlost'), expired, complete) }],
  ['fails as it is to', { nature: 'error', phase: 'error', attempts: attempts(userError) }],
  [
    'has used up its tries',
    { phase: 'internalerror', attempts: attempts(expired, expired, failed('workerlost')) },
  ],
  [
    'cannot be pushed',
    {
      nature: 'infrastructure',
      phase: 'internalerror',
      attempts: attempts(failed('pushissue'), failed('pushissue'), failed('pushissue')).map((one) => ({
        ...one,
        disturbed: false,
      })),
    },
  ],
  [
    'was cancelled',
    { cancel: 'granted', phase: 'cancelled', attempts: attempts({ kind: 'cancelled', by: 'me' }) },
  ],
  ['was cancelled too late', { cancel: 'granted' }],
  [
    'was superseded while it waited',
    {
      phase: 'cancelled',
      attempts: attempts({ kind: 'cancelled', by: 'superseded' }),
      superseded: { planned: true, started: false },
    },
  ],
])('a build that %s has ended well', (_, changes) => {
  expect(check(changes)).toEqual([]);
});

test.each<[string, Partial<EndToCheck>, RegExp]>([
  [
    'gave up before its tries were used',
    { phase: 'internalerror', attempts: attempts(expired, expired) },
    /after 2 tries of 3/,
  ],
  [
    'gave up for tries that were given back',
    { phase: 'internalerror', attempts: attempts(expired, failed('managerlost', true), expired) },
    /after 2 tries of 3/,
  ],
  [
    'lost a try for nothing',
    { attempts: attempts(expired, complete).map((one) => ({ ...one, disturbed: false })) },
    /epoch 1 failed though nothing was done to it/,
  ],
  ['lost a try for what no fault explains', { attempts: attempts(failed('diskfull'), complete) }, /diskfull/],
  ['failed for its user', { phase: 'error', attempts: attempts(userError) }, /to be complete ended as error/],
  ['was completed though it fails', { nature: 'error' }, /to be error is complete/],
  ['was cancelled by nobody', { phase: 'cancelled' }, /nobody cancelled it/],
  ['went on though superseded', { superseded: { planned: true, started: false } }, /and ended as complete/],
  [
    'was superseded by something else',
    { phase: 'cancelled', superseded: { planned: false, started: false } },
    /nothing newer is of the same thing/,
  ],
  [
    'was superseded while it ran',
    { phase: 'cancelled', superseded: { planned: true, started: true } },
    /though it had started/,
  ],
  [
    'was cancelled in vain',
    { cancel: 'granted', phase: 'expired' },
    /it was cancelled, and ended as expired/,
  ],
])('a build that %s is found out', (_, changes, fault) => {
  expect(check(changes).join('\n')).toMatch(fault);
});
