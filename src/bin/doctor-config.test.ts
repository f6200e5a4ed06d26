import { expect, test } from 'vitest';
import type { ReadyStep } from '../executor/executor.ts';
import { ExecutorError } from '../executor/executor-error.ts';
import { checkRemoteExecutor } from './doctor-config.ts';

function executor(steps: readonly ReadyStep[], failure?: string) {
  return {
    name: 'far',
    async *check(): AsyncGenerator<ReadyStep> {
      yield* steps;
      if (failure !== undefined) throw new ExecutorError('unavailable', failure);
    },
  };
}

test('an executor that is reached and may start workers is well', async () => {
  expect(await checkRemoteExecutor(executor(['reachable', 'allowed']))).toMatchObject({
    name: 'executor far',
    status: 'ok',
    what: 'reachable, allowed',
  });
});

test('one that cannot be looked at without a worker says so', async () => {
  expect(await checkRemoteExecutor({ name: 'far' })).toMatchObject({ status: 'ok' });
});

test('says what is missing, without secrets', async () => {
  expect(await checkRemoteExecutor(executor([], 'no answer to key-1234'), ['key-1234'])).toEqual({
    name: 'executor far',
    status: 'missing',
    what: 'Not reachable: no answer to (hidden)',
    mend: 'slipway executor test far',
  });
  expect(await checkRemoteExecutor(executor(['reachable'], 'jobs is forbidden'))).toMatchObject({
    what: 'Not allowed: jobs is forbidden',
  });
});
