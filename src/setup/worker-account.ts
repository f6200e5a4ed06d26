import { chown, mkdir, readFile } from 'node:fs/promises';
import { runCommand } from './command.ts';
import { ensureDevices } from './devices.ts';
import { lockMachine } from './machine-lock.ts';
import { SetupError } from './setup-error.ts';
import { freeRange, hasRange, parseIdMap, parseSubordinateRanges } from './subordinate-ids.ts';

/** The account that builds run as, and its home folder, which it owns and nobody else may read. */
export interface WorkerAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

export interface WorkerAccountOptions {
  /** Told each thing that is done, one line at a time. */
  readonly report: (line: string) => void;
  readonly name?: string;
  /** The folder engines keep their storage in. Made when missing. */
  readonly home?: string;
  readonly signal?: AbortSignal;
}

/**
 * As root: makes the unprivileged account that workers run as, with what rootless builds need: a home folder,
 * 65,536 subordinate user and group ids that collide with nobody's, and devices it may open. Only what is missing
 * is made, so it may be called at every start and by several processes at once.
 *
 * @throws SetupError `account-failed`, `no-subuid`, `devices-closed`, `machine-locked`
 */
export async function ensureWorkerAccount(options: WorkerAccountOptions): Promise<WorkerAccount> {
  const lock = await lockMachine(options.report, { signal: options.signal });
  try {
    return await ensureLocked(options);
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}

async function ensureLocked(options: WorkerAccountOptions): Promise<WorkerAccount> {
  const { report, name = 'slipway-worker', home = '/var/lib/slipway-worker', signal } = options;
  let entry = await findAccount(name, signal);
  if (entry === undefined) {
    report(`making the system account ${name}, which builds run as`);
    const args = [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      home,
      '--shell',
      '/usr/sbin/nologin',
      name,
    ];
    const made = await runCommand('useradd', args, { signal });
    entry = await findAccount(name, signal);
    if (entry === undefined) {
      throw new SetupError(
        'account-failed',
        `The account ${name} could not be made: ${made.output}. Make it by hand and start again: useradd ${args.join(' ')}`,
      );
    }
  }
  if (entry.uid === 0) {
    throw new SetupError(
      'account-failed',
      `The account ${name} has root's id. Builds must not run as root; choose another account.`,
    );
  }
  await ensureSubordinateIds(name, entry.uid, report, signal);
  await ensureHome(home, entry, report);
  await ensureDevices({ account: entry, mend: true, report, signal });
  return { name, ...entry, home };
}

/**
 * As root, where nothing may be changed: the account that was made before.
 *
 * @throws SetupError `account-failed` when there is none, or when it lacks subordinate ids
 */
export async function existingWorkerAccount(
  name = 'slipway-worker',
  signal?: AbortSignal,
): Promise<Omit<WorkerAccount, 'home'>> {
  const entry = await findAccount(name, signal);
  const [users, groups] = await readRanges();
  if (entry === undefined || !hasRange(users, name, entry.uid) || !hasRange(groups, name, entry.uid))
    throw new SetupError(
      'account-failed',
      `Builds run as the account ${name}, which ${entry === undefined ? 'does not exist' : 'has no subordinate ids'}. Start once without --no-setup, which makes what is missing.`,
    );
  return { name, ...entry };
}

interface Ids {
  readonly uid: number;
  readonly gid: number;
}

/** An account of this machine by its name. */
export async function findAccount(name: string, signal?: AbortSignal): Promise<Ids | undefined> {
  const { ok, output } = await runCommand('getent', ['passwd', name], { signal });
  const [, , uid, gid] = output.split(':');
  return ok && uid !== undefined && gid !== undefined ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

async function ensureSubordinateIds(
  name: string,
  uid: number,
  report: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const [users, groups] = await readRanges();
  const lacks = { users: !hasRange(users, name, uid), groups: !hasRange(groups, name, uid) };
  if (!lacks.users && !lacks.groups) return;
  // One range that is free among both kinds, so that user and group ids of a build are the same numbers.
  const existing = parseIdMap(await readFile('/proc/self/uid_map', 'utf8'));
  const range = freeRange([...users, ...groups], existing);
  if (range === undefined) {
    throw new SetupError(
      'no-subuid',
      'There are no 65536 free subordinate ids on this machine. Free a range in /etc/subuid and /etc/subgid, or, in a container, map at least 165536 ids into it.',
    );
  }
  const span = `${range.first}-${range.first + range.count - 1}`;
  report(`giving ${name} the subordinate ids ${span}`);
  const args = [
    ...(lacks.users ? ['--add-subuids', span] : []),
    ...(lacks.groups ? ['--add-subgids', span] : []),
    name,
  ];
  const result = await runCommand('usermod', args, { signal });
  const [usersNow, groupsNow] = await readRanges();
  if (!hasRange(usersNow, name, uid) || !hasRange(groupsNow, name, uid)) {
    throw new SetupError(
      'no-subuid',
      `${name} could not be given subordinate ids: ${result.output}. Do it by hand: usermod ${args.join(' ')}`,
    );
  }
}

/** /etc/subuid and /etc/subgid; a missing file has no ranges. */
export async function readRanges(): Promise<
  [ReturnType<typeof parseSubordinateRanges>, ReturnType<typeof parseSubordinateRanges>]
> {
  const read = async (file: string) => parseSubordinateRanges(await readFile(file, 'utf8').catch(() => ''));
  return [await read('/etc/subuid'), await read('/etc/subgid')];
}

async function ensureHome(home: string, { uid, gid }: Ids, report: (line: string) => void): Promise<void> {
  const made = await mkdir(home, { recursive: true, mode: 0o711 });
  if (made !== undefined) report(`making ${home} for the storage of builds`);
  await chown(home, uid, gid);
}
