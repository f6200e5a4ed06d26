import type { LocalExecutorConfig } from '../config/config.ts';
import { checkOwnAccount } from '../setup/own-account.ts';
import { buildPackages } from '../setup/package-list.ts';
import { ensurePackages } from '../setup/packages.ts';
import { ensureWorkerAccount, existingWorkerAccount, type WorkerAccount } from '../setup/worker-account.ts';
import type { ProcessEnvironment } from './environment.ts';

/**
 * Sees that the machine has what its executors need, and makes it when `setup` is on. A server without local workers
 * needs the registry's program alone. Gives the account that local workers run as, when that is not this process's own.
 */
export async function prepareMachine(
  environment: ProcessEnvironment,
  executors: readonly LocalExecutorConfig[],
  { setup, report }: { readonly setup: boolean; readonly report: (line: string) => void },
): Promise<Omit<WorkerAccount, 'home'> | undefined> {
  const builds = executors.some(
    ({ binary, buildEngine }) =>
      binary === undefined &&
      (buildEngine === 'auto' ? environment.worker.BUILD_ENGINE : buildEngine) !== 'dummy',
  );
  const packages = buildPackages.filter(({ name }) => builds || name === 'docker-registry');
  await ensurePackages(packages, { report, install: setup && environment.root });
  if (executors.length === 0) return undefined;
  if (environment.root) return setup ? await ensureWorkerAccount({ report }) : await existingWorkerAccount();
  if (builds) await checkOwnAccount({ report });
  return undefined;
}
