import { accessSync, constants, globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { installPackages } from './apt.ts';
import { systemPath } from './command.ts';
import type { SystemPackage } from './package-list.ts';
import { SetupError } from './setup-error.ts';

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Where a program is found first. */
export function programPath(program: string, searchPath: string): string | undefined {
  const candidates = program.startsWith('/')
    ? globSync(program)
    : searchPath.split(':').map((folder) => join(folder, program));
  return candidates.find(isProgram);
}

function isPresent(program: string, searchPath: string): boolean {
  return programPath(program, searchPath) !== undefined;
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
