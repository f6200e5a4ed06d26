import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { ExecutorConfig, KubernetesExecutorConfig, LocalExecutorConfig } from '../config/config.ts';
import type { DiskKeeper } from '../executor/disk-keeper.ts';
import type { Executor } from '../executor/executor.ts';
import { FailoverExecutor, type FailoverOptions } from '../executor/failover.ts';
import { LocalExecutor } from '../executor/local-executor.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import type { DataFolder } from '../setup/data-folder.ts';
import { SetupError } from '../setup/setup-error.ts';
import type { WorkerAccount } from '../setup/worker-account.ts';
import { composeKubernetes, type KubernetesOptions } from './compose-kubernetes.ts';
import { composeLocalWorkers } from './compose-local-executor.ts';
import type { ProcessEnvironment } from './environment.ts';

export interface ExecutorsOptions {
  readonly environment: ProcessEnvironment;
  readonly folder: DataFolder;
  readonly account?: Omit<WorkerAccount, 'home'>;
  /** Variables for every local worker, such as where the authorities are that it has to trust. */
  readonly workerEnvironment: Readonly<Record<string, string>>;
  readonly kubernetes: Pick<KubernetesOptions, 'site' | 'allowedWorkers' | 'userData'>;
  readonly onFallback: NonNullable<FailoverOptions['onFallback']>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Executors {
  /** All of them as one. */
  readonly executor: Executor;
  diskKeepers(queue: Pick<BuildQueue, 'counts'>): readonly DiskKeeper[];
}

export type RunnableExecutorConfig = LocalExecutorConfig | KubernetesExecutorConfig;

/** Those this version can run. Throws SetupError `not-supported`, which names the first that it cannot. */
export function runnableExecutorsOf(executors: readonly ExecutorConfig[]): readonly RunnableExecutorConfig[] {
  return executors.map((entry, index) => {
    if (entry.type !== 'ec2') return entry;
    throw new SetupError(
      'not-supported',
      `Entry ${index + 1} of EXECUTORS (NAME ${entry.name}) has EXECUTOR ${entry.type}, which this version of Slipway cannot run. Use another type, or remove the entry.`,
    );
  });
}

/** The executors of EXECUTORS, asked in their order. */
export async function composeExecutors(
  entries: readonly RunnableExecutorConfig[],
  options: ExecutorsOptions,
): Promise<Executors> {
  const locals = entries.filter(({ type }) => type === 'local').length;
  const made = await Promise.all(
    entries.map(async (entry) =>
      entry.type === 'local'
        ? await composeLocal(entry, locals, options)
        : {
            executor: await composeKubernetes(entry, { ...options.kubernetes, ...options }),
            diskKeeper: () => undefined,
          },
    ),
  );
  return {
    executor: new FailoverExecutor({
      entries: made.map(({ executor }, index) => ({ executor, ...entries[index]?.rules })),
      onFallback: options.onFallback,
    }),
    diskKeepers: (queue) =>
      made.flatMap(({ diskKeeper }) => {
        const keeper = diskKeeper(queue);
        return keeper === undefined ? [] : [keeper];
      }),
  };
}

async function composeLocal(
  entry: LocalExecutorConfig,
  among: number,
  { environment, folder, account, workerEnvironment, clock, logger }: ExecutorsOptions,
): Promise<{
  readonly executor: Executor;
  readonly diskKeeper: (queue: Pick<BuildQueue, 'counts'>) => DiskKeeper | undefined;
}> {
  // Each entry finds its own workers again, and only those.
  const part = (base: string) => (among === 1 ? base : join(base, entry.name));
  const places = {
    workersFolder: part(folder.workers),
    recordsFolder: part(join(folder.run, 'workers')),
  };
  const given = {
    name: entry.name,
    machine: `${hostname()}:${folder.root}`,
    ...(entry.maxWorkers === undefined ? {} : { maxWorkers: entry.maxWorkers }),
  };
  const variables = { ...workerEnvironment, ...variablesOf(entry) };
  if (entry.binary === undefined)
    return await composeLocalWorkers({
      environment,
      ...places,
      ...(account === undefined ? {} : { account }),
      executor: given,
      workerEnvironment: variables,
      clock,
      logger,
    });
  return {
    executor: new LocalExecutor({
      command: [entry.binary],
      environment: {
        PATH: environment.path,
        HOME: join(places.workersFolder, 'home'),
        ...environment.proxies,
        ...variables,
      },
      ...places,
      token: 'environment',
      type: 'popen',
      clock,
      ...(account === undefined ? {} : { account }),
      ...given,
    }),
    diskKeeper: () => undefined,
  };
}

/** What an entry says about its workers, by the names that workers of this protocol read. */
function variablesOf({ worker, buildEngine, isolation, debug }: LocalExecutorConfig): Record<string, string> {
  const authorities = [...(worker.caCert === undefined ? [] : [worker.caCert]), ...worker.extraCaCerts];
  return {
    ...worker.proxies,
    ...(buildEngine === 'auto' ? {} : { BUILD_ENGINE: buildEngine }),
    CONTAINER_RUNTIME: worker.containerRuntime,
    ...(isolation === undefined ? {} : { BUILDAH_ISOLATION: isolation }),
    ...(authorities.length === 0 ? {} : { CA_CERT: authorities.join('\n') }),
    ...(debug ? { DEBUG: 'true' } : {}),
  };
}
