import { globSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { runCommand } from './command.ts';
import { ensureDevices } from './devices.ts';
import { type Lack, lackError } from './lack.ts';
import { freeRange, hasRange, parseIdMap, rangeSize } from './subordinate-ids.ts';
import { readRanges } from './worker-account.ts';

export interface OwnAccountOptions {
  readonly report: (line: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * As an ordinary user, whose own account builds then run as: checks what rootless builds need and changes nothing.
 *
 * @throws SetupError `no-subuid`, `namespaces-closed`, `devices-closed`, each with the exact command to mend it
 */
export async function checkOwnAccount({ report, signal }: OwnAccountOptions): Promise<void> {
  const { username, uid } = userInfo();
  const noIds = await subordinateIdsLack(username, uid);
  if (noIds !== undefined) throw lackError(noIds, 'Give it one with:');
  for (const look of [mappersLack, namespacesLack]) {
    const lack = await look(signal);
    if (lack !== undefined) throw lackError(lack);
  }
  await ensureDevices({ account: undefined, mend: false, report, signal });
}

/** Whether an account lacks the ids that rootless builds need. */
export async function subordinateIdsLack(username: string, uid: number): Promise<Lack | undefined> {
  const [users, groups] = await readRanges();
  const flags: string[] = [];
  const existing = parseIdMap(await readFile('/proc/self/uid_map', 'utf8'));
  const range = freeRange([...users, ...groups], existing) ?? { first: 100_000, count: rangeSize };
  const span = `${range.first}-${range.first + range.count - 1}`;
  if (!hasRange(users, username, uid)) flags.push(`--add-subuids ${span}`);
  if (!hasRange(groups, username, uid)) flags.push(`--add-subgids ${span}`);
  if (flags.length === 0) return undefined;
  return {
    code: 'no-subuid',
    what: `The user ${username} has no range of ${rangeSize} subordinate ids, which rootless builds need.`,
    mend: `sudo usermod ${flags.join(' ')} ${username}`,
  };
}

/** newuidmap and newgidmap work by the set-user-id bit (Debian) or by a file capability (elsewhere). */
export async function mappersLack(signal?: AbortSignal): Promise<Lack | undefined> {
  for (const program of ['newuidmap', 'newgidmap']) {
    const path = globSync(`/{usr/bin,bin,usr/local/bin}/${program}`)[0];
    if (path === undefined)
      return {
        code: 'packages-missing',
        what: `${program} is missing.`,
        mend: 'sudo apt-get install -y uidmap',
      };
    const { mode, uid } = statSync(path);
    if ((mode & 0o4000) !== 0 && uid === 0) continue;
    const { ok, output } = await runCommand('getcap', [path], { signal });
    if (ok && /cap_set[ug]id/.test(output)) continue;
    return {
      code: 'no-subuid',
      what: `${path} may not hand out subordinate ids: it is not set-user-id root.`,
      mend: `sudo chmod u+s ${path}`,
    };
  }
  return undefined;
}

/** Debian's own switch and the kernel's limit; either at 0 stops every rootless build. */
export async function namespacesLack(): Promise<Lack | undefined> {
  for (const [file, setting] of [
    ['/proc/sys/kernel/unprivileged_userns_clone', 'kernel.unprivileged_userns_clone=1'],
    ['/proc/sys/user/max_user_namespaces', 'user.max_user_namespaces=15000'],
  ] as const) {
    const value = await readFile(file, 'utf8').catch(() => undefined);
    if (value?.trim() === '0')
      return {
        code: 'namespaces-closed',
        what: `Ordinary users may not make user namespaces here (${file} is 0), which rootless builds need.`,
        mend: `sudo sysctl -w ${setting}`,
      };
  }
  return undefined;
}
