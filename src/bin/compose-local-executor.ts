import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import { DiskKeeper } from '../executor/disk-keeper.ts';
import { LocalExecutor, type LocalExecutorOptions } from '../executor/local-executor.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import { type ProgramView, viewProgram } from '../setup/program-view.ts';
import type { WorkerAccount } from '../setup/worker-account.ts';
import type { CleanPolicy } from '../worker/engine/engine.ts';
import type { ProcessEnvironment } from './environment.ts';

export interface LocalWorkersOptions {
  readonly environment: ProcessEnvironment;
  /** One folder an attempt, the engine's storage in `home`, and the view of the program. */
  readonly workersFolder: string;
  /** Records of running workers, for the next life of the server. */
  readonly recordsFolder: string;
  /** The account of the workers; absent: this process's own. */
  readonly account?: Omit<WorkerAccount, 'home'>;
  /** What an entry of EXECUTORS says, and what tells this server's workers from others'. */
  readonly executor?: Pick<LocalExecutorOptions, 'name' | 'type' | 'machine'>;
  /** Beside what the process environment gives to workers. */
  readonly workerEnvironment?: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface LocalWorkers {
  readonly executor: LocalExecutor;
  /** Keeps the engine's store from filling the disk. Undefined for engines that keep no store of ours; not started yet. */
  diskKeeper(queue: Pick<BuildQueue, 'counts'>): DiskKeeper | undefined;
}

/** Layers unused for a week go, and sooner the oldest ones while less than a tenth of the disk is free. */
const cleanPolicy: CleanPolicy = { unusedFor: 7 * 24 * 3_600_000, minimumFree: 0.1 };
const cleanEvery = 10 * 60_000;

/** Workers as processes of this machine, and what keeps their disk. */
export async function composeLocalWorkers(options: LocalWorkersOptions): Promise<LocalWorkers> {
  const { environment, workersFolder, account, clock, logger } = options;
  const program = await programView(environment, workersFolder, account);
  const home = await workersHome(workersFolder, account);
  const workerEnvironment: Readonly<Record<string, string>> = {
    PATH: environment.path,
    HOME: home,
    SLIPWAY_STATE_DIR: home,
    NODE_COMPILE_CACHE: join(home, 'node-cache'),
    ...environment.proxies,
    ...environment.worker,
    ...options.workerEnvironment,
  };
  const asAccount = {
    commandDropsPrivileges: program.dropsPrivileges,
    ...(account === undefined ? {} : { account }),
  };
  return {
    executor: new LocalExecutor({
      command: [...program.command, program.pathOf('src/bin/worker.ts')],
      environment: workerEnvironment,
      workersFolder,
      recordsFolder: options.recordsFolder,
      token: 'stdin',
      clock,
      ...asAccount,
      ...options.executor,
    }),
    diskKeeper(queue) {
      if ((workerEnvironment.BUILD_ENGINE ?? 'auto') === 'dummy') return undefined;
      return new DiskKeeper({
        command: [...program.command, program.pathOf('src/bin/keep-disk.ts')],
        environment: { ...workerEnvironment, SLIPWAY_CLEAN_POLICY: JSON.stringify(cleanPolicy) },
        ...asAccount,
        idle: async () => {
          const { queued, running } = await queue.counts();
          return queued + running === 0;
        },
        clock,
        every: cleanEvery,
        onReport: (report) => logger.info({ report }, 'looked after the disk of the build engine'),
        onError: (error) => logger.warn({ err: error }, 'cleaning the store of the build engine failed'),
      });
    },
  };
}

/** What outlives the workers of one folder, such as the engine's storage. Theirs alone. */
export async function workersHome(
  workersFolder: string,
  account: Omit<WorkerAccount, 'home'> | undefined,
): Promise<string> {
  const home = join(workersFolder, 'home');
  await mkdir(home, { recursive: true, mode: 0o700 });
  if (account !== undefined) await chown(home, account.uid, account.gid);
  return home;
}

/** Workers run the same Node.js and the same sources as the server. */
async function programView(
  { installation }: ProcessEnvironment,
  workersFolder: string,
  account: Omit<WorkerAccount, 'home'> | undefined,
): Promise<ProgramView> {
  if (account !== undefined)
    return await viewProgram({
      account,
      installation,
      node: process.execPath,
      folder: join(workersFolder, 'view'),
    });
  return {
    command: [process.execPath, '--disable-warning=ExperimentalWarning'],
    pathOf: (program) => join(installation, program),
    dropsPrivileges: false,
  };
}
