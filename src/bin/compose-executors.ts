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
import type { WorkerAccount } from '../setup/worker-account.ts';
import { composeEc2 } from './compose-ec2.ts';
import type { FleetEntry } from './compose-fleet.ts';
import { composeKubernetes } from './compose-kubernetes.ts';
import { composeLocalWorkers, workersHome } from './compose-local-executor.ts';
import type { ProcessEnvironment } from './environment.ts';

export interface ExecutorsOptions {
  readonly environment: ProcessEnvironment;
  readonly folder: DataFolder;
  readonly account?: Omit<WorkerAccount, 'home'>;
  /** Variables for every local worker, such as where the authorities are that it has to trust. */
  readonly workerEnvironment: Readonly<Record<string, string>>;
  /** What tells this installation's workers from others' on shared machines. */
  readonly site: string;
  /** ALLOWED_WORKER_COUNT */
  readonly allowedWorkers: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Executors {
  /** In the order in which they are asked. */
  readonly entries: readonly FleetEntry[];
  diskKeepers(queue: Pick<BuildQueue, 'counts'>): readonly DiskKeeper[];
}

export type RemoteExecutorConfig = Exclude<ExecutorConfig, LocalExecutorConfig>;

/** The executors of EXECUTORS, in their order. */
export async function composeExecutors(
  entries: readonly ExecutorConfig[],
  options: ExecutorsOptions,
): Promise<Executors> {
  const locals = entries.filter(({ type }) => type === 'local').length;
  const made = await Promise.all(
    entries.map(async (entry) =>
      entry.type === 'local'
        ? await composeLocal(entry, locals, options)
        : { executor: await composeRemoteExecutor(entry, options), diskKeeper: () => undefined },
    ),
  );
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
  return {
    rules: entry.rules,
    ...(entry.maxWorkers === undefined ? {} : { maxWorkers: entry.maxWorkers }),
    secrets: secretsOf(entry),
  };
}

/** What an entry says that no message may. */
export function secretsOf(entry: ExecutorConfig): readonly string[] {
  const own =
    entry.type === 'ec2'
      ? entry.credentials?.secretKey
      : entry.type === 'local'
        ? undefined
        : entry.api.token;
  return [entry.worker.imageCredentials?.password, own].flatMap((secret) => secret?.reveal() ?? []);
}

/** An executor on other machines. */
export async function composeRemoteExecutor(
  entry: RemoteExecutorConfig,
  options: Pick<ExecutorsOptions, 'environment' | 'site' | 'allowedWorkers' | 'clock' | 'logger'>,
): Promise<Executor> {
  return entry.type === 'ec2' ? await composeEc2(entry, options) : await composeKubernetes(entry, options);
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
  const home = await workersHome(places.workersFolder, account);
  return {
    executor: new LocalExecutor({
      command: [entry.binary],
      environment: {
        PATH: environment.path,
        HOME: home,
        ...environment.proxies,
        ...environment.worker,
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
