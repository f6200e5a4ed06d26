import { access, constants, readFile, statfs } from 'node:fs/promises';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import type { HomeSettings, StorageDriver } from './buildah-home.ts';
import type { Isolation } from './engine.ts';
import { EngineError } from './engine-error.ts';

/** What this machine and account offer to buildah, learnt from files, and by trying what files do not tell. */
export interface MachineFindings extends HomeSettings {
  readonly isolation: Isolation;
  /** See ConfinedCommand. */
  readonly proc: 'own' | 'outer';
  readonly warnings: readonly string[];
}

export interface ProbeOptions {
  readonly path: string;
  /** An existing folder on the disk where the store will be. */
  readonly onDisk: string;
  readonly uid: number;
  /** `auto`: namespaces when the machine has what they need, else chroot with a warning. */
  readonly isolation: 'auto' | 'namespaces' | 'chroot';
  /** Whether a namespace can have a /proc of its own. Asked once the programs are known to be there. */
  readonly mountsProc: () => Promise<boolean>;
}

export async function inspectMachine(options: ProbeOptions): Promise<MachineFindings> {
  const find = (program: string) => findProgram(program, options.path);
  for (const [program, packageName] of required) {
    if ((await find(program)) === undefined) {
      throw new EngineError(
        'enginemissing',
        `${program} is not installed where the worker runs. Install the package ${packageName}.`,
      );
    }
  }
  if (options.uid === 0 && !(await hasSubordinateIds('root'))) {
    throw new EngineError(
      'enginemissing',
      'Builds do not run as root. Start the worker under an unprivileged account with ranges in /etc/subuid and /etc/subgid.',
    );
  }
  const warnings: string[] = [];
  const slirp4netns = await find('slirp4netns');
  const fuseOverlayfs = await find('fuse-overlayfs');
  const lacking: string[] = [];
  if ((await find('runc')) === undefined) lacking.push('runc is not installed');
  if (slirp4netns === undefined) lacking.push('slirp4netns is not installed');
  if (!(await mayUse('/dev/net/tun'))) {
    lacking.push('/dev/net/tun cannot be opened by this account (chmod 0666 /dev/net/tun)');
  }
  const proc = (await options.mountsProc()) ? 'own' : 'outer';
  if (proc === 'outer') {
    lacking.push(
      'this container keeps parts of /proc from its processes, so that no namespace gets one of its own',
    );
  }
  const isolation =
    options.isolation === 'auto' ? (lacking.length === 0 ? 'namespaces' : 'chroot') : options.isolation;
  if (isolation === 'namespaces' && lacking.length > 0) {
    throw new EngineError(
      'enginemissing',
      `RUN steps cannot have namespaces of their own: ${lacking.join('; ')}.`,
    );
  }
  if (isolation === 'chroot') {
    const why = lacking.length === 0 ? 'as configured' : `because ${lacking.join('; ')}`;
    warnings.push(
      `Isolation is only chroot, ${why}: RUN steps share this machine's network, its loopback included, and see the ` +
        "engine's processes.",
    );
  }
  const storageDriver = await chooseDriver(options.onDisk, fuseOverlayfs);
  if (storageDriver !== 'overlay') {
    warnings.push(
      `Images are stored by ${storageDriver}, which is slower: native overlay needs Linux 5.13 and a disk that is not itself an overlay.`,
    );
  }
  return { isolation, proc, storageDriver, slirp4netns, fuseOverlayfs, warnings };
}

const required = [
  ['buildah', 'buildah'],
  ['newuidmap', 'uidmap'],
  ['unshare', 'util-linux'],
  ['setpriv', 'util-linux'],
  ['flock', 'util-linux'],
] as const;

const overlayMagic = 0x794c7630;

async function chooseDriver(folder: string, fuseOverlayfs: string | undefined): Promise<StorageDriver> {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const kernelCan = major > 5 || (major === 5 && minor >= 13);
  if (kernelCan && (await statfs(folder)).type !== overlayMagic) return 'overlay';
  return fuseOverlayfs !== undefined && (await mayUse('/dev/fuse')) ? 'fuse-overlayfs' : 'vfs';
}

async function mayUse(path: string): Promise<boolean> {
  return await access(path, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}

async function hasSubordinateIds(account: string): Promise<boolean> {
  const ranges = await readFile('/etc/subuid', 'utf8').catch(() => '');
  return ranges.split('\n').some((line) => line.startsWith(`${account}:`) || line.startsWith('0:'));
}

async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter)) {
    if (!folder.startsWith('/')) continue;
    const candidate = join(folder, name);
    const found = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  return undefined;
}
