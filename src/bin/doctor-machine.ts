import { messageOf } from '../base/coded-error.ts';
import { controlGroupParent } from '../executor/control-group.ts';
import { type Finding, missing, ok, warning } from '../setup/finding.ts';
import {
  type BuildAccount,
  buildAccount,
  checkAccount,
  checkDataFolder,
  checkPackages,
  nearestFolder,
} from '../setup/machine-check.ts';
import { buildPackages } from '../setup/package-list.ts';
import { inspectMachine } from '../worker/engine/buildah-probe.ts';
import type { ProcessEnvironment } from './environment.ts';

/** What builds need on this machine. */
export async function* checkMachine(
  environment: ProcessEnvironment,
  data: string,
): AsyncGenerator<readonly Finding[]> {
  const account = await buildAccount(environment.root);
  yield await checkPackages(buildPackages, searchPath(environment));
  yield await checkAccount(account);
  yield [await storage(environment, account, data), controlGroups()];
  yield await checkDataFolder(data, account);
}

/** An ordinary user's PATH lacks the folders of system programs, where engines look nevertheless. */
export function searchPath({ path }: ProcessEnvironment): string {
  return [...path.split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'].join(':');
}

async function storage(
  environment: ProcessEnvironment,
  { ids }: BuildAccount,
  data: string,
): Promise<Finding> {
  try {
    const { storageDriver } = await inspectMachine({
      path: searchPath(environment),
      onDisk: nearestFolder(data),
      uid: ids?.uid ?? 1,
      isolation: 'auto',
      // Of no account for how layers are stored.
      mountsProc: async () => true,
    });
    if (storageDriver !== 'vfs') return ok('layer storage', storageDriver);
    return warning(
      'layer storage',
      'Layers are copied whole (vfs), which is slow and takes much disk: neither the kernel nor fuse-overlayfs can overlay here.',
      'sudo apt-get install -y fuse-overlayfs && sudo modprobe fuse && sudo chmod 0666 /dev/fuse',
    );
  } catch (thrown) {
    return missing('layer storage', messageOf(thrown));
  }
}

function controlGroups(): Finding {
  const parent = controlGroupParent();
  return parent === undefined
    ? warning(
        'control groups',
        'Workers get no control group of their own here; their processes are found by other means when they end.',
      )
    : ok('control groups', `one for each worker, below ${parent}`);
}
