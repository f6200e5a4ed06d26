import { accessSync, constants, globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { installPackages } from './apt.ts';
import { systemPath } from './command.ts';
import { SetupError } from './setup-error.ts';

/** A Debian package and how to see that what we need of it is there. */
export interface SystemPackage {
  readonly name: string;
  /** Programs it brings: names looked for in the system's folders, or absolute paths, which may be globs. */
  readonly programs: readonly string[];
  /** Ends the sentence "<name> …". */
  readonly why: string;
  /** Its system service, which nobody asked for and which is not to run because of us. */
  readonly service?: string;
}

/** What a machine needs to build images and to serve them. */
export const buildPackages: readonly SystemPackage[] = [
  { name: 'buildah', programs: ['buildah'], why: 'builds images without a daemon' },
  { name: 'runc', programs: ['runc'], why: 'runs the RUN steps of a build' },
  {
    name: 'uidmap',
    programs: ['newuidmap', 'newgidmap'],
    why: 'gives rootless builds their range of user ids',
  },
  { name: 'slirp4netns', programs: ['slirp4netns'], why: 'gives builds a network of their own' },
  {
    name: 'fuse-overlayfs',
    programs: ['fuse-overlayfs'],
    why: 'stores layers where the kernel allows no rootless overlay',
  },
  {
    name: 'docker-registry',
    programs: ['docker-registry'],
    why: 'stores the images',
    service: 'docker-registry.service',
  },
  { name: 'skopeo', programs: ['skopeo'], why: 'reads images back from a registry' },
  { name: 'git', programs: ['git'], why: 'fetches sources' },
  { name: 'busybox-static', programs: ['busybox'], why: 'is the content of the example image' },
];

/** What the tests need beyond that. */
export const testPackages: readonly SystemPackage[] = [
  { name: 'mmdebstrap', programs: ['mmdebstrap'], why: 'makes base images for tests' },
  {
    name: 'redis-server',
    programs: ['redis-server'],
    why: 'is tested against',
    service: 'redis-server.service',
  },
  {
    name: 'postgresql',
    programs: ['/usr/lib/postgresql/*/bin/postgres', '/usr/lib/postgresql/*/bin/initdb'],
    why: 'is tested against',
    service: 'postgresql.service',
  },
  {
    name: 'openssh-server',
    programs: ['sshd'],
    why: 'serves git repositories to tests',
    service: 'ssh.service',
  },
];

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function isPresent(program: string, searchPath: string): boolean {
  const candidates = program.startsWith('/')
    ? globSync(program)
    : searchPath.split(':').map((folder) => join(folder, program));
  return candidates.some(isProgram);
}

/** The packages one of whose programs is not on this machine, however it came there. */
export function missingPackages(
  packages: readonly SystemPackage[],
  searchPath = systemPath,
): SystemPackage[] {
  return packages.filter(({ programs }) => !programs.every((program) => isPresent(program, searchPath)));
}

export interface PackageOptions {
  /** Told each thing that is done, one line at a time. */
  readonly report: (line: string) => void;
  /** False: never change the machine, only say what is missing. Default: true for root. */
  readonly install?: boolean;
  readonly searchPath?: string;
  readonly signal?: AbortSignal;
  /** Variables apt-get is to see, such as http_proxy. */
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * Makes sure that every package is there: by apt-get as root, else by telling the user the command. Safe to call
 * again and at the same time from several processes.
 *
 * @throws SetupError `packages-missing` (with the command to run), `apt-failed`, `machine-locked`
 */
export async function ensurePackages(
  packages: readonly SystemPackage[],
  options: PackageOptions,
): Promise<void> {
  const {
    report,
    install = process.getuid?.() === 0,
    searchPath = systemPath,
    signal,
    environment,
  } = options;
  const missing = missingPackages(packages, searchPath);
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name).join(' ');
  if (!install) {
    const reasons = missing.map(({ name, why }) => `${name} (${why})`).join(', ');
    throw new SetupError(
      'packages-missing',
      `This machine lacks ${reasons}. Install with:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${names}`,
    );
  }
  if (!isPresent('apt-get', searchPath)) {
    throw new SetupError(
      'packages-missing',
      `This machine lacks ${names}, and it has no apt-get to install them with. Slipway sets up Debian 12 and its relatives; elsewhere install what brings these programs: ${missing.flatMap(({ programs }) => programs).join(' ')}`,
    );
  }
  await installPackages(() => missingPackages(packages, searchPath), { report, signal, environment });
  const still = missingPackages(packages, searchPath);
  if (still.length > 0) {
    throw new SetupError(
      'apt-failed',
      `apt-get reported success, but these programs are not there: ${still.flatMap(({ programs }) => programs).join(' ')}. Look at: apt-get install --reinstall ${still.map(({ name }) => name).join(' ')}`,
    );
  }
}
