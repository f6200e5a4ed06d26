import { readFile, rm, writeFile } from 'node:fs/promises';
import { type CommandResult, runCommand } from './command.ts';
import { lockMachine } from './machine-lock.ts';
import type { SystemPackage } from './package-list.ts';
import { SetupError } from './setup-error.ts';

const policyFile = '/usr/sbin/policy-rc.d';
const policy = `#!/bin/sh
# Written by Slipway's set-up while it installs packages, so that they do not start services; removed afterwards.
exit 101
`;

export interface InstallOptions {
  readonly report: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** Variables apt-get is to see, such as http_proxy. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** The apt-get and apt-cache to call; the system's by default. */
  readonly programs?: { readonly aptGet: string; readonly aptCache: string };
}

/**
 * Installs what `missing` names once the machine's lock is held (someone else may have installed it meanwhile).
 * The list of available packages is fetched only when it lacks one of them, or when a download fails because the
 * list is old. No service starts, neither now nor at the next start of the machine.
 *
 * @throws SetupError `apt-failed`
 */
export async function installPackages(
  missing: () => readonly SystemPackage[],
  options: InstallOptions,
): Promise<void> {
  const lock = await lockMachine(options.report, { signal: options.signal });
  try {
    await installLocked(missing, options);
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}

async function installLocked(
  missing: () => readonly SystemPackage[],
  {
    report,
    signal,
    environment: given = {},
    programs = { aptGet: 'apt-get', aptCache: 'apt-cache' },
  }: InstallOptions,
): Promise<void> {
  const packages = missing();
  if (packages.length === 0) return;
  const names = packages.map(({ name }) => name);
  for (const { name, why } of packages) report(`installing the Debian package ${name}, which ${why}`);

  const environment = { ...given, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1', NEEDRESTART_MODE: 'l' };
  const aptGet = async (...args: string[]) =>
    await runCommand(programs.aptGet, ['-q', '-y', '-o', 'DPkg::Lock::Timeout=600', ...args], {
      signal,
      environment,
    });
  const update = async (): Promise<void> => {
    report('fetching the list of available packages (apt-get update)');
    const result = await aptGet('update');
    if (!result.ok) throw failed('apt-get update', result.output);
  };
  const install = async () => await aptGet('install', '--no-install-recommends', ...names);

  let updated = false;
  if (!(await allKnown(programs.aptCache, names, signal))) {
    await update();
    updated = true;
  }
  const policy = await holdServicesBack();
  let result: CommandResult;
  try {
    result = await install();
    if (!result.ok && !updated) {
      await update();
      result = await install();
    }
  } finally {
    await policy[Symbol.asyncDispose]();
  }
  if (!result.ok)
    throw failed(`apt-get install -y --no-install-recommends ${names.join(' ')}`, result.output);
  for (const { service } of packages)
    if (service !== undefined) await keepServiceOff(service, report, signal);
}

async function allKnown(
  aptCache: string,
  names: readonly string[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { ok, output } = await runCommand(aptCache, ['policy', ...names], { signal });
  const candidates = output.match(/^ {2}Candidate: (?!\(none\)).+$/gm) ?? [];
  return ok && candidates.length === names.length;
}

/** An administrator's own policy is respected; ours, left by a set-up that was killed, is taken over. */
async function holdServicesBack(): Promise<AsyncDisposable> {
  const present = await readFile(policyFile, 'utf8').catch(() => undefined);
  if (present === undefined) await writeFile(policyFile, policy, { mode: 0o755 });
  return {
    [Symbol.asyncDispose]: async () => {
      if (present === undefined || present === policy) await rm(policyFile, { force: true });
    },
  };
}

async function keepServiceOff(
  service: string,
  report: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { ok } = await runCommand('systemctl', ['disable', '--quiet', service], { signal });
  if (ok) report(`${service} came with the package and stays off; Slipway runs its own`);
}

function failed(command: string, output: string): SetupError {
  const last = output.split('\n').slice(-12).join('\n');
  return new SetupError(
    'apt-failed',
    `This failed, see its reason below, mend it and start again: ${command}\n${last}`,
  );
}
