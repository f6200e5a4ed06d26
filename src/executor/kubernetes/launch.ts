import { backOff } from '../../base/back-off.ts';
import type { Clock } from '../../base/clock.ts';
import { ExecutorError } from '../executor-error.ts';
import { ApiFailure } from './api-client.ts';
import { isPassing } from './api-error.ts';
import type { BuilderApi } from './builder-api.ts';
import type { JobObjects } from './job-of.ts';
import { attemptOf } from './labels.ts';
import { isFinished, type Job } from './objects.ts';

export interface LaunchOptions {
  readonly attemptId: string;
  readonly executor: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const tries = 4;
/** Looks whether what was deleted before, under the same name, has gone. */
const leavingTries = 40;
const leavingDelay = 250;
const cleanUp = 5_000;

/**
 * Three calls: the Job, suspended; its Secret, which it owns; and the Job may run. However often that is repeated, and
 * whatever answer is lost on the way, there is one Job; and one that was not brought to its end runs nothing and takes
 * its Secret with it. When it fails, what was made is deleted again.
 */
export async function launch(api: BuilderApi, objects: JobObjects, options: LaunchOptions): Promise<void> {
  const { signal } = options;
  let ours = false;
  try {
    const job = await jobFor(api, objects, options);
    ours = true;
    // Another call, whose answer was lost, or another manager brought it to its end.
    if (isFinished(job) || job.spec?.suspend !== true) return;
    await secretFor(api, objects, job.metadata.uid, options);
    await again(() => api.resumeJob(objects.name, signal), options);
  } catch (thrown) {
    // Without an answer it may be there all the same.
    if (ours || !(thrown instanceof ExecutorError || thrown instanceof ApiFailure))
      await api.deleteJob(objects.name, AbortSignal.timeout(cleanUp)).catch(() => {});
    throw thrown;
  }
}

async function jobFor(api: BuilderApi, { name, job }: JobObjects, options: LaunchOptions): Promise<Job> {
  const { signal, executor, attemptId, clock } = options;
  for (let n = 0; n < leavingTries; n += 1) {
    try {
      return await again(() => api.createJob(job, signal), options);
    } catch (thrown) {
      if (!isStatus(thrown, 409)) throw thrown;
    }
    const found = await unlessGone(again(() => api.job(name, signal), options));
    if (found !== undefined && attemptOf(found.metadata) !== attemptId)
      throw new ExecutorError(
        'start-failed',
        `Executor ${executor}: a Job ${name} is there that is not Slipway's. Delete it.`,
      );
    if (found !== undefined && found.metadata.deletionTimestamp === undefined) return found;
    await clock.sleep(leavingDelay, signal);
  }
  throw new ExecutorError(
    'start-failed',
    `Executor ${executor}: the former Job ${name} is still being deleted. Look at its finalizers.`,
  );
}

async function secretFor(
  api: BuilderApi,
  { name, secret }: JobObjects,
  uid: string,
  options: LaunchOptions,
): Promise<void> {
  const { signal, executor, clock } = options;
  for (let n = 0; n < leavingTries; n += 1) {
    try {
      await again(() => api.createSecret(secret(uid), signal), options);
      return;
    } catch (thrown) {
      if (!isStatus(thrown, 409)) throw thrown;
    }
    const found = await unlessGone(again(() => api.secret(name, signal), options));
    if (found?.metadata.ownerReferences?.some((owner) => owner.uid === uid) === true) return;
    // A former Job's, which goes with that one.
    await clock.sleep(leavingDelay, signal);
  }
  throw new ExecutorError(
    'start-failed',
    `Executor ${executor}: a Secret ${name} is there that belongs to another Job. Delete it.`,
  );
}

/** What passes is tried again: the API server may just be restarting. */
async function again<T>(call: () => Promise<T>, { clock, signal }: LaunchOptions): Promise<T> {
  for (let n = 0; ; n += 1) {
    try {
      return await call();
    } catch (thrown) {
      if (signal.aborted || n + 1 >= tries || !isPassing(thrown)) throw thrown;
      await clock.sleep(backOff(n, { first: 250, cap: 2_000 }), signal);
    }
  }
}

async function unlessGone<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (thrown) {
    if (isStatus(thrown, 404)) return undefined;
    throw thrown;
  }
}

export function isStatus(thrown: unknown, status: number): boolean {
  return thrown instanceof ApiFailure && thrown.status === status;
}
