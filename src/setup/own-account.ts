import { globSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { runCommand } from './command.ts';
import { ensureDevices } from './devices.ts';
import { SetupError } from './setup-error.ts';
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
  const [users, groups] = await readRanges();
  const flags: string[] = [];
  const existing = parseIdMap(await readFile('/proc/self/uid_map', 'utf8'));
  const range = freeRange([...users, ...groups], existing) ?? { first: 100_000, count: rangeSize };
  const span = `${range.first}-${range.first + range.count - 1}`;
  if (!hasRange(users, username, uid)) flags.push(`--add-subuids ${span}`);
  if (!hasRange(groups, username, uid)) flags.push(`--add-subgids ${span}`);
  if (flags.length > 0) {
    throw new SetupError(
      'no-subuid',
      `The user ${username} has no range of ${rangeSize} subordinate ids, which rootless builds need. Give it one with: sudo usermod ${flags.join(' ')} ${username}`,
    );
  }
  for (const program of ['newuidmap', 'newgidmap']) await checkPrivileged(program, signal);
  await checkNamespaces();
  await ensureDevices({ account: undefined, mend: false, report, signal });
}

/** newuidmap and newgidmap work by the set-user-id bit (Debian) or by a file capability (elsewhere). */
async function checkPrivileged(program: string, signal: AbortSignal | undefined): Promise<void> {
  const path = globSync(`/{usr/bin,bin,usr/local/bin}/${program}`)[0];
  if (path === undefined) {
    throw new SetupError(
      'packages-missing',
      `${program} is missing. Install it with: sudo apt-get install -y uidmap`,
    );
  }
  const { mode, uid } = statSync(path);
  if ((mode & 0o4000) !== 0 && uid === 0) return;
  const { ok, output } = await runCommand('getcap', [path], { signal });
  if (ok && /cap_set[ug]id/.test(output)) return;
  throw new SetupError(
    'no-subuid',
    `${path} may not hand out subordinate ids: it is not set-user-id root. Mend it with: sudo chmod u+s ${path}`,
  );
}

/** Debian's own switch and the kernel's limit; either at 0 stops every rootless build. */
async function checkNamespaces(): Promise<void> {
  for (const [file, setting] of [
    ['/proc/sys/kernel/unprivileged_userns_clone', 'kernel.unprivileged_userns_clone=1'],
    ['/proc/sys/user/max_user_namespaces', 'user.max_user_namespaces=15000'],
  ] as const) {
    const value = await readFile(file, 'utf8').catch(() => undefined);
    if (value?.trim() === '0') {
      throw new SetupError(
        'namespaces-closed',
        `Ordinary users may not make user namespaces here (${file} is 0), which rootless builds need. Allow it with: sudo sysctl -w ${setting}`,
      );
    }
  }
}
