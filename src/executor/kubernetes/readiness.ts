import type { ReadyStep } from '../executor.ts';
import { ExecutorError } from '../executor-error.ts';
import { ApiFailure } from './api-client.ts';
import { type ErrorContext, translateApiError } from './api-error.ts';
import type { BuilderApi } from './builder-api.ts';

/** What its account must be allowed, as docs/kubernetes/role.yaml has it; to watch pods is only faster. */
const rights = [
  ['batch', 'jobs', ['create', 'get', 'list', 'patch', 'delete']],
  ['', 'secrets', ['create', 'get']],
  ['', 'pods', ['list', 'delete']],
  ['', 'pods/log', ['get']],
  ['', 'events', ['list']],
] as const;

/**
 * Whether the cluster would run a worker, without starting one: it answers, the account has every right, and the Job passes
 * quota and admission (a dry run). Throws ExecutorError at the first that is not so.
 */
export async function* readinessOf(
  api: BuilderApi,
  job: object,
  context: ErrorContext,
  signal: AbortSignal,
): AsyncGenerator<ReadyStep> {
  try {
    await api.version(signal);
  } catch (thrown) {
    signal.throwIfAborted();
    // Any answer is one: what it does not like is told with the next step.
    if (!(thrown instanceof ApiFailure)) throw translateApiError(thrown, context);
  }
  yield 'reachable';
  try {
    await expectRights(api, context, signal);
    await api.tryJob(job, signal);
  } catch (thrown) {
    signal.throwIfAborted();
    throw translateApiError(thrown, context);
  }
  yield 'allowed';
}

async function expectRights(
  api: BuilderApi,
  { executor, namespace }: ErrorContext,
  signal: AbortSignal,
): Promise<void> {
  const asked = rights.flatMap(([group, resource, verbs]) =>
    verbs.map((verb) => ({ group, resource, verb })),
  );
  const answers = await Promise.all(
    asked.map(async (right) => ({ right, allowed: await api.may(right, signal) })),
  );
  const missing = answers.flatMap(({ right: { verb, resource }, allowed }) =>
    allowed ? [] : [`${verb} ${resource}`],
  );
  if (missing.length === 0) return;
  throw new ExecutorError(
    'misconfigured',
    `Executor ${executor}: its account may not ${missing.join(', ')} in namespace ${namespace}. Apply docs/kubernetes/role.yaml and role-binding.yaml, which give these rights.`,
  );
}
