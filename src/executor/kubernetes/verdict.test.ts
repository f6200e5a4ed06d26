import { describe, expect, test } from 'vitest';
import type { Condition, ContainerState, Job, Pod } from './objects.ts';
import { Patience } from './patience.ts';
import { type Verdict, verdictOf } from './verdict.ts';

const limits = { maximumJobTime: 7200, memoryLimit: '5120Mi' };

function job(...conditions: readonly (Partial<Condition> & { readonly type: string })[]): Job {
  return {
    metadata: { name: 'job', uid: 'u1' },
    status: { conditions: conditions.map((each) => ({ status: 'True', ...each })) },
  };
}

function pod(status: NonNullable<Pod['status']>, state?: ContainerState, deleted = false): Pod {
  return {
    metadata: { name: 'pod', uid: 'u2', ...(deleted ? { deletionTimestamp: '2026-11-30T18:00:00Z' } : {}) },
    spec: { nodeName: 'node-1' },
    status: {
      ...status,
      ...(state === undefined ? {} : { containerStatuses: [{ name: 'builder', state }] }),
    },
  };
}

const condition = (type: string, reason: string, message = '', status = 'True'): Condition => ({
  type,
  status,
  reason,
  message,
});

function judge(ofJob: Job, ofPod?: Pod, refusal?: string): Verdict {
  return verdictOf(ofJob, ofPod, limits, refusal);
}

describe('a worker', () => {
  test('starts while it has no pod, runs with it, and ends with its container', () => {
    expect(judge(job())).toEqual({ kind: 'starting' });
    expect(judge(job(), pod({ phase: 'Pending' }))).toEqual({ kind: 'starting' });
    expect(judge(job(), pod({ phase: 'Running' }, { running: {} }))).toEqual({ kind: 'running' });
    expect(judge(job(), pod({ phase: 'Failed' }, { terminated: { exitCode: 7, reason: 'Error' } }))).toEqual({
      kind: 'gone',
      exitCode: 7,
      reason: 'The worker exited with status 7.',
      ask: 'log-and-events',
    });
    expect(
      judge(job(), pod({ phase: 'Succeeded' }, { terminated: { exitCode: 0, reason: 'Completed' } })),
    ).toMatchObject({ kind: 'gone', exitCode: 0 });
  });

  test.each<[string, Verdict, RegExp]>([
    [
      'evicted',
      judge(
        job(),
        pod({ phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' }),
      ),
      /Evicted: The node was low on resource: memory/,
    ],
    [
      'out of memory',
      judge(job(), pod({ phase: 'Failed' }, { terminated: { exitCode: 137, reason: 'OOMKilled' } })),
      /OOMKilled, limit 5120Mi.*CONTAINER_MEMORY_LIMITS/,
    ],
    [
      'on a lost node',
      judge(
        job(),
        pod(
          {
            phase: 'Running',
            conditions: [condition('DisruptionTarget', 'DeletionByTaintManager', 'Taint manager: deleting')],
          },
          { running: {} },
          true,
        ),
      ),
      /node .* was lost \(node node-1/,
    ],
    [
      'on a node of old that was lost',
      judge(job(), pod({ phase: 'Failed', reason: 'NodeLost' })),
      /was lost/,
    ],
    ['on a node nobody hears of', judge(job(), pod({ phase: 'Unknown', reason: 'NodeLost' })), /was lost/],
    [
      'preempted',
      judge(
        job(),
        pod({
          phase: 'Failed',
          conditions: [condition('DisruptionTarget', 'PreemptionByScheduler', 'higher')],
        }),
      ),
      /Preempted: higher.*PRIORITY_CLASS/,
    ],
    ['of a drained node', judge(job(), pod({ phase: 'Running' }, { running: {} }, true)), /was deleted/],
    [
      'over its time',
      judge(job({ type: 'Failed', reason: 'DeadlineExceeded' }), pod({ phase: 'Running' }, { running: {} })),
      /MAXIMUM_JOB_TIME allows \(7200 s\)/,
    ],
    [
      'whose Job has failed without a pod, whatever place the condition has',
      judge(
        job(
          { type: 'SuccessCriteriaMet', status: 'False' },
          { type: 'Failed', reason: 'BackoffLimitExceeded' },
        ),
      ),
      /BackoffLimitExceeded/,
    ],
    [
      'with an impossible image',
      judge(job(), pod({ phase: 'Pending' }, { waiting: { reason: 'InvalidImageName', message: 'bad' } })),
      /InvalidImageName: bad/,
    ],
    [
      'that the cluster does not admit',
      judge(job(), undefined, 'pods "x" is forbidden: violates PodSecurity "baseline:latest": privileged'),
      /does not admit .*PodSecurity/,
    ],
    [
      'that a webhook refuses',
      judge(job(), undefined, 'admission webhook "images.example.com" denied the request: not signed'),
      /does not admit .*not signed/,
    ],
  ])('%s is gone, and why is said', (_, verdict, reason) => {
    expect(verdict).toMatchObject({ kind: 'gone', reason: expect.stringMatching(reason) });
  });

  test.each<[string, Verdict, 'image' | 'place', RegExp]>([
    [
      'a node',
      judge(
        job(),
        pod({
          phase: 'Pending',
          conditions: [
            condition(
              'PodScheduled',
              'Unschedulable',
              '0/3 nodes are available: 3 Insufficient memory.',
              'False',
            ),
          ],
        }),
      ),
      'place',
      /Unschedulable: 0\/3 nodes are available: 3 Insufficient memory/,
    ],
    [
      'its image',
      judge(
        job(),
        pod({ phase: 'Pending' }, { waiting: { reason: 'ImagePullBackOff', message: 'Back-off' } }),
      ),
      'image',
      /ImagePullBackOff: Back-off.*IMAGE_PULL_SECRET_NAME/,
    ],
    [
      'the quota',
      judge(
        job(),
        undefined,
        'Error creating: pods "x" is forbidden: exceeded quota: builds, requested: pods=1',
      ),
      'place',
      /quota.*exceeded quota: builds/,
    ],
    [
      'a webhook that is away',
      judge(job(), undefined, 'Internal error occurred: failed calling webhook "x": connection refused'),
      'place',
      /failed calling webhook/,
    ],
    [
      'a webhook whose service is away',
      judge(
        job(),
        undefined,
        'Error creating: Internal error occurred: failed calling webhook "x": service "rules" not found',
      ),
      'place',
      /cannot be asked.*service "rules" not found/,
    ],
  ])('may wait for %s', (_, verdict, kind, reason) => {
    expect(verdict).toMatchObject({ kind: 'starting', why: { kind, reason: expect.stringMatching(reason) } });
  });
});

describe('patience', () => {
  const image: Verdict = { kind: 'starting', why: { kind: 'image', reason: 'No image.' } };
  const place: Verdict = { kind: 'starting', why: { kind: 'place', reason: 'No node.' } };

  test('ends with what is waited for', () => {
    const patience = new Patience({ toStart: 1000, toPull: 100 });
    expect(patience.judge('a', place, 0)).toEqual(place);
    expect(patience.judge('a', place, 999)).toEqual(place);
    expect(patience.judge('a', place, 1000)).toMatchObject({
      kind: 'gone',
      reason: 'The pod of the worker did not start within 1 s. No node.',
    });
    expect(patience.judge('b', image, 1000)).toEqual(image);
    expect(patience.judge('b', image, 1100)).toMatchObject({ kind: 'gone', reason: 'No image.' });
  });

  test('begins again when a pull went on, and with a worker that ran', () => {
    const patience = new Patience({ toStart: 1000, toPull: 100 });
    patience.judge('a', image, 0);
    patience.judge('a', { kind: 'starting' }, 50);
    expect(patience.judge('a', image, 120).kind).toBe('starting');
    patience.judge('a', { kind: 'running' }, 900);
    expect(patience.judge('a', place, 1100).kind).toBe('starting');
  });
});
