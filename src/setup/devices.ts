import { chmod, stat } from 'node:fs/promises';
import { runCommand } from './command.ts';
import { SetupError } from './setup-error.ts';

export interface Device {
  readonly path: string;
  readonly why: string;
  /** A build can do without: it then has no other choice where the kernel's own overlay works. */
  readonly required: boolean;
}

export const devices: readonly Device[] = [
  { path: '/dev/net/tun', why: 'builds get their network through it', required: true },
  {
    path: '/dev/fuse',
    why: 'layers are stored through it where the kernel allows no rootless overlay',
    required: false,
  },
];

export interface DeviceOptions {
  /** Who must be able to open them; undefined is the user of this process. Needs root otherwise. */
  readonly account: { readonly uid: number; readonly gid: number } | undefined;
  /** Whether closed permissions are set back to Debian's default (0666), or only reported. Needs root. */
  readonly mend: boolean;
  readonly report: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Tries to open the devices that rootless builds use, as the account itself: permissions are not all that can
 * stand in the way.
 *
 * @throws SetupError `devices-closed`
 */
export async function ensureDevices({ account, mend, report, signal }: DeviceOptions): Promise<void> {
  for (const { path, why, required } of devices) {
    const open = async () => await opens(path, account, signal);
    let state = await open();
    if (state !== undefined && mend) {
      const mode = await stat(path).then(
        (found) => found.mode & 0o777,
        () => undefined,
      );
      if (mode !== undefined && (mode & 0o006) !== 0o006) {
        report(
          `opening ${path} to all users, as Debian has it (its mode was ${mode.toString(8).padStart(4, '0')}): ${why}`,
        );
        await chmod(path, 0o666);
        state = await open();
      }
    }
    if (state === undefined) continue;
    if (required) {
      throw new SetupError(
        'devices-closed',
        `${path} cannot be opened (${state}), and ${why}. Mend it with: ${remedy(path)}`,
      );
    }
    report(`${path} cannot be opened (${state}): ${why}. If that is needed here: ${remedy(path)}`);
  }
}

/** The command that opens one of them to all. */
export function remedy(path: string): string {
  return path === '/dev/net/tun'
    ? `sudo modprobe tun && sudo chmod 0666 ${path}`
    : `sudo modprobe fuse && sudo chmod 0666 ${path}`;
}

/** Undefined when it opens, else the reason. */
export async function opens(
  path: string,
  account: DeviceOptions['account'],
  signal?: AbortSignal,
): Promise<string | undefined> {
  const trial = ['sh', '-c', 'exec 3<>"$0"', path];
  const as =
    account === undefined ? [] : [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups', '--'];
  const { ok, output } = await (account === undefined
    ? runCommand('sh', trial.slice(1), { signal })
    : runCommand('setpriv', [...as, ...trial], { signal }));
  return ok ? undefined : (output.split(': ').at(-1) ?? output);
}
