import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';

/**
 * Makes this process an ordinary one, as workers are: as root it becomes the account `slipway-worker` for good
 * (made when missing, with subordinate ids), else it stays who it is. Only for a test file that has a process of
 * its own, after all that needs root.
 */
export function becomeWorker(): { uid: number; gid: number } {
  const [uid, gid] = [process.getuid?.(), process.getgid?.()];
  if (uid === undefined || gid === undefined) throw new Error('this system has no user ids');
  if (uid !== 0) return { uid, gid };
  const account = ensureAccount();
  process.setgroups?.([]);
  process.setgid?.(account.gid);
  process.setuid?.(account.uid);
  return account;
}

const name = 'slipway-worker';

/** The account workers run under when the tests run as root. */
export function ensureAccount(): { uid: number; gid: number } {
  if (spawnSync('id', ['-u', name]).status !== 0) {
    execFileSync('useradd', [
      '--system',
      '--no-create-home',
      '--home-dir',
      '/nonexistent',
      '--shell',
      '/usr/sbin/nologin',
      name,
    ]);
    execFileSync('usermod', ['--add-subuids', '300000-365535', '--add-subgids', '300000-365535', name]);
  }
  // Debian's own modes; some virtual machines start without.
  for (const device of ['/dev/net/tun', '/dev/fuse']) {
    try {
      chmodSync(device, 0o666);
    } catch {
      // The probe of the engine says what is missing.
    }
  }
  const [uid, gid] = ['-u', '-g'].map((flag) =>
    Number(execFileSync('id', [flag, name], { encoding: 'utf8' })),
  );
  if (uid === undefined || gid === undefined) throw new Error(`the account ${name} has no ids`);
  return { uid, gid };
}
