import { copyFile, mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { checkAccountReach } from './account-reach.ts';
import { runCommand } from './command.ts';
import { SetupError } from './setup-error.ts';

export interface ProgramViewOptions {
  readonly account: { readonly name: string; readonly uid: number; readonly gid: number };
  /** The folder Slipway is installed in. */
  readonly installation: string;
  /** The node binary. */
  readonly node: string;
  /** A folder of root's below which the view is shown to the account; it can be reached by everyone. */
  readonly folder: string;
}

/** How root starts a Node.js program of the installation as the account. */
export interface ProgramView {
  /** The beginning of every command line; a program's path, as `pathOf` gives it, and its arguments follow. */
  readonly command: readonly [string, ...string[]];
  pathOf(program: string): string;
  /** The command becomes the account by itself, so it is started as root. */
  readonly dropsPrivileges: boolean;
}

const node = '--disable-warning=ExperimentalWarning';
/** Pairs of folders to show, then `--`, then the command. */
const show =
  'set -e; while [ "$1" != -- ]; do mount --bind "$1" "$2"; mount -o remount,bind,ro "$2"; shift 2; done; shift; exec "$@"';

/**
 * Lets the workers' account run Slipway wherever it is installed. Root's own home, where many clone it to, is closed to
 * all others; opening it is not ours to do. Then the command shows itself the installation, read-only, in a mount
 * namespace of its own, which ends with the process, and becomes the account after that.
 */
export async function viewProgram({
  account,
  installation,
  node: binary,
  folder,
}: ProgramViewOptions): Promise<ProgramView> {
  try {
    await checkAccountReach({
      account,
      paths: [join(installation, 'src/bin/worker.ts'), join(installation, 'node_modules'), binary],
    });
    return {
      command: [binary, node],
      pathOf: (program) => join(installation, program),
      dropsPrivileges: false,
    };
  } catch (error) {
    if (!(error instanceof SetupError) || error.code !== 'folder-closed') throw error;
    return await showProgram({ account, installation, node: binary, folder }, error);
  }
}

/** Throws `closed` when it helps nothing, because the files themselves are closed or nothing may be mounted here. */
async function showProgram(
  { account, installation, node: binary, folder }: ProgramViewOptions,
  closed: SetupError,
): Promise<ProgramView> {
  // The folder of the installation itself may be closed, too; what lies in it comes with the usual modes.
  const shown = join(folder, 'program');
  const binaries = join(folder, 'node');
  const mounts: string[] = [];
  for (const [from, to] of [
    [join(installation, 'src'), join(shown, 'src')],
    [join(installation, 'node_modules'), join(shown, 'node_modules')],
    [dirname(binary), binaries],
  ] as const) {
    await mkdir(to, { recursive: true, mode: 0o755 });
    mounts.push(from, to);
  }
  await copyFile(join(installation, 'package.json'), join(shown, 'package.json'));
  const [program, ...prefix] = [
    'unshare',
    ...['--mount', '--propagation', 'private', '--', 'sh', '-c', show, 'sh', ...mounts, '--'],
    'setpriv',
    ...[`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups', '--'],
  ];
  const binaryShown = join(binaries, basename(binary));
  const wanted = [join(shown, 'src/bin/worker.ts'), join(shown, 'node_modules'), binaryShown];
  const probe = await runCommand(program, [
    ...prefix,
    'sh',
    '-c',
    'set -e; for p; do test -r "$p"; done',
    'sh',
    ...wanted,
  ]);
  if (!probe.ok) throw closed;
  return {
    command: [program, ...prefix, binaryShown, node],
    pathOf: (path) => join(shown, path),
    dropsPrivileges: true,
  };
}
