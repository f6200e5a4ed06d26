import { Readable } from 'node:stream';
import Type, { type Static } from 'typebox';
import type { TrialEvent } from '../executor/worker-trial.ts';
import type { ExecutorView, FleetAlert } from '../fleet/fleet-view.ts';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';
import type { ApiDependencies } from './dependencies.ts';
import { textEnum } from './text-enum.ts';

const tags = ['superuser'];
const params = Type.Object({ executor: Type.String({ maxLength: 255 }) });
const time = (description: string) =>
  Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description });

const executorSchema = Type.Object(
  {
    name: Type.String(),
    type: Type.String({ description: 'local, popen, kubernetes, kubernetesPodman or ec2' }),
    state: textEnum(['ready', 'cordoned', 'draining', 'drained'] as const),
    cordoned_by: Type.Union([Type.String(), Type.Null()], {
      description: 'Who cordoned or drains it; `configuration` when that has CORDONED: true',
    }),
    cordoned_since: time('When that was done; null by configuration'),
    running: Type.Integer({ description: 'Workers' }),
    max_workers: Type.Union([Type.Integer(), Type.Null()]),
    rules: Type.Object({
      minimum_retry_threshold: Type.Integer(),
      namespace_whitelist: Type.Union([Type.Array(Type.String()), Type.Null()]),
      staged_rollout: Type.Union([Type.Number(), Type.Null()]),
      platforms: Type.Union([Type.Array(Type.String()), Type.Null()], { description: 'Null: all' }),
    }),
    breaker: Type.Object(
      {
        state: textEnum(['closed', 'half-open', 'open'] as const),
        since: time('When starts began to fail'),
        until: time('Until when it is left alone'),
      },
      { description: 'The worst of all managers' },
    ),
    last_started: time('When a worker was last started, since the servers run'),
    last_failures: Type.Array(
      Type.Object({
        time: Type.String({ format: 'date-time' }),
        code: Type.String(),
        message: Type.String({ description: 'Without secrets' }),
        manager: Type.String(),
      }),
      { description: 'Starts that failed, the newest first' },
    ),
    managers: Type.Array(Type.String(), { description: 'Those that have it' }),
  },
  { title: 'Executor' },
);

const alertSchema = Type.Object(
  {
    since: Type.String({ format: 'date-time' }),
    message: Type.String({ description: 'What each executor said' }),
    executors: Type.Array(Type.String(), { description: 'All that take the builds which wait' }),
    manager: Type.String(),
  },
  { title: 'ExecutorAlert' },
);

/** Executors as superusers see them, switch them off and on, and try them out. */
export function addExecutorRoutes(
  api: Api,
  { fleet, closing }: Pick<ApiDependencies, 'fleet'> & { readonly closing: AbortSignal },
): void {
  const base = '/api/v1/superuser/executors';
  const config = { access: 'superuser' } as const;

  api.get(
    base,
    {
      config,
      schema: {
        operationId: 'listExecutors',
        summary: 'All executors, how they do, and whether builds wait because all of them fail',
        tags,
        response: {
          200: Type.Object(
            {
              executors: Type.Array(executorSchema, { description: 'In the order in which they are asked' }),
              alerts: Type.Array(alertSchema, {
                description: 'Every executor fails that some build may run on; such builds wait',
              }),
            },
            { title: 'Executors' },
          ),
        },
      },
    },
    async () => {
      const { executors, alerts } = await fleet.view();
      return { executors: executors.map(viewExecutor), alerts: alerts.map(viewAlert) };
    },
  );

  const cordon = (verb: 'cordon' | 'drain', summary: string, description: string) =>
    api.post(
      `${base}/:executor/${verb}`,
      {
        config,
        schema: {
          operationId: `${verb}Executor`,
          summary,
          description,
          tags,
          params,
          response: { 200: executorSchema },
        },
      },
      async (request) => {
        const by = requireUser(request.principal).username;
        const position = verb === 'drain' ? 'draining' : 'cordoned';
        return viewExecutor(await fleet.cordon(request.params.executor, position, by));
      },
    );
  cordon(
    'cordon',
    'Give an executor no new builds',
    'Holds for all servers, and until it is uncordoned. What runs goes on.',
  );
  cordon(
    'drain',
    'Give an executor no new builds, and watch its workers end',
    'Answers at once: `state` is `draining` while workers run, then `drained`. What runs goes on to its end.',
  );

  api.post(
    `${base}/:executor/uncordon`,
    {
      config,
      schema: {
        operationId: 'uncordonExecutor',
        summary: 'Give an executor builds again',
        tags,
        params,
        response: { 200: executorSchema },
      },
    },
    async (request) => viewExecutor(await fleet.uncordon(request.params.executor)),
  );

  api.post(
    `${base}/:executor/test`,
    {
      config,
      schema: {
        operationId: 'testExecutor',
        summary: 'Start a worker that builds nothing, and tell each step as it happens',
        description:
          'Server-sent events. `step`: {step, passed, seconds, message}, of `reachable`, `allowed`, `started`, `scheduled`, `image-pulled`, `registered`, `stopped`; what the type of executor cannot tell apart is left out. `end`: {passed}; nothing comes after it. Also a cordoned executor is tried out. Only a server that has the executor can do it (else 409).',
        tags,
        params,
        produces: ['text/event-stream'],
      },
    },
    async (request, reply) => {
      const over = new AbortController();
      reply.raw.once('close', () => over.abort());
      const signal = AbortSignal.any([over.signal, closing]);
      const trial = await fleet.trial(request.params.executor, signal);
      return await reply
        .type('text/event-stream; charset=utf-8')
        .header('x-accel-buffering', 'no')
        .send(Readable.from(trialEvents(trial, signal), { objectMode: true, highWaterMark: 1 }));
    },
  );
}

async function* trialEvents(trial: AsyncIterable<TrialEvent>, signal: AbortSignal): AsyncGenerator<Buffer> {
  const text = (event: string, data: unknown) =>
    Buffer.from(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  // Whoever waits sees at once that it has begun.
  yield Buffer.from(': begun\n\n');
  let passed = true;
  try {
    for await (const event of trial) {
      if (event.kind === 'failed') passed = false;
      yield text('step', {
        step: event.step,
        passed: event.kind === 'passed',
        seconds: event.kind === 'passed' ? event.took / 1000 : null,
        message: event.kind === 'failed' ? event.message : null,
      });
    }
    yield text('end', { passed });
  } catch (thrown) {
    // The reader is gone, or the server stops: there is nobody to tell.
    if (!signal.aborted) throw thrown;
  }
}

const isoOf = (at: number | undefined): string | null =>
  at === undefined ? null : new Date(at).toISOString();

function viewExecutor(executor: ExecutorView): Static<typeof executorSchema> {
  const { rules, changed, breaker } = executor;
  return {
    name: executor.name,
    type: executor.type,
    state: executor.state,
    cordoned_by: rules.cordoned ? 'configuration' : (changed?.by ?? null),
    cordoned_since: rules.cordoned ? null : isoOf(changed?.at),
    running: executor.running,
    max_workers: executor.maxWorkers ?? null,
    rules: {
      minimum_retry_threshold: rules.minimumRetryThreshold,
      namespace_whitelist: rules.namespaceWhitelist ?? null,
      staged_rollout: rules.stagedRollout ?? null,
      platforms: rules.platforms ?? null,
    },
    breaker: { state: breaker.kind, since: isoOf(breaker.since), until: isoOf(breaker.until) },
    last_started: isoOf(executor.lastStart),
    last_failures: executor.failures.map(({ at, code, message, manager }) => ({
      time: new Date(at).toISOString(),
      code,
      message,
      manager,
    })),
    managers: [...executor.managers],
  };
}

function viewAlert({ since, message, executors, manager }: FleetAlert): Static<typeof alertSchema> {
  return { since: new Date(since).toISOString(), message, executors: [...executors], manager };
}
