import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { ExecutorConfig, LocalExecutorConfig } from '../config/config.ts';
import type { DiskKeeper } from '../executor/disk-keeper.ts';
import type { Executor } from '../executor/executor.ts';
import { LocalExecutor } from '../executor/local-executor.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import type { DataFolder } from '../setup/data-folder.ts';
import { SetupError } from '../setup/setup-error.ts';
import type { WorkerAccount } from '../setup/worker-account.ts';
import type { FleetEntry } from './compose-fleet.ts';
import { composeLocalWorkers } from './compose-local-executor.ts';
import type { ProcessEnvironment } from './environment.ts';

export interface ExecutorsOptions {
  readonly environment: ProcessEnvironment;
  readonly folder: DataFolder;
  readonly account?: Omit<WorkerAccount, 'home'>;
  /** Variables for every local worker, such as where the authorities are that it has to trust. */
  readonly workerEnvironment: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Executors {
  /** In the order in which they are asked. */
  readonly entries: readonly FleetEntry[];
  diskKeepers(queue: Pick<BuildQueue, 'counts'>): readonly DiskKeeper[];
}

/** Those this version can run. Throws SetupError `not-supported`, which names the first that it cannot. */
export function localExecutorsOf(executors: readonly ExecutorConfig[]): readonly LocalExecutorConfig[] {
  return executors.map((entry, index) => (entry.type === 'local' ? entry : remoteExecutorOf(entry, index)));
}

/** An executor on other machines. Throws SetupError `not-supported`: there is none yet. */
export function remoteExecutorOf(
  { name, type }: Exclude<ExecutorConfig, LocalExecutorConfig>,
  index?: number,
): never {
  const entry = index === undefined ? 'An entry' : `Entry ${index + 1}`;
  throw new SetupError(
    'not-supported',
    `${entry} of EXECUTORS (NAME ${name}) has EXECUTOR ${type}, which this version of Slipway cannot run. Use local or popen, or remove the entry.`,
  );
}

/** The executors of EXECUTORS, in their order. */
export async function composeExecutors(
  entries: readonly LocalExecutorConfig[],
  options: ExecutorsOptions,
): Promise<Executors> {
  const made = await Promise.all(entries.map((entry) => composeLocal(entry, entries.length, options)));
  return {
    entries: made.map(({ executor }, index) => ({ executor, ...sayingsOf(entries[index]) })),
    diskKeepers: (queue) =>
      made.flatMap(({ diskKeeper }) => {
        const keeper = diskKeeper(queue);
        return keeper === undefined ? [] : [keeper];
      }),
  };
}

/** What an entry says that holds for every type. */
function sayingsOf(entry: ExecutorConfig | undefined): Omit<FleetEntry, 'executor'> {
  if (entry === undefined) return {};
  const password = entry.worker.imageCredentials?.password.reveal();
  return {
    rules: entry.rules,
    ...(entry.maxWorkers === undefined ? {} : { maxWorkers: entry.maxWorkers }),
    secrets: password === undefined ? [] : [password],
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
