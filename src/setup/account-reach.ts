import { statSync } from 'node:fs';
import { runCommand } from './command.ts';
import { wayTo } from './folder-fault.ts';
import { SetupError } from './setup-error.ts';
import { shellWord } from './shell-word.ts';

export interface AccountReachOptions {
  readonly account: { readonly name: string; readonly uid: number; readonly gid: number };
  /** Absolute paths that the account must get to. */
  readonly paths: readonly string[];
  readonly signal?: AbortSignal;
}

/** Prints the first folder that cannot be passed, or the file that cannot be read. */
const look =
  'for p; do if [ -d "$p" ]; then [ -x "$p" ]; else [ -r "$p" ]; fi || { echo "$p"; exit 1; }; done';

/**
 * As root: whether the account that workers run as gets to the folders and files it needs. The account itself is let
 * try, so that whatever decides (modes, access lists, mounts) is asked.
 *
 * @throws SetupError `folder-closed`, naming the first folder in the way and the command that opens it
 */
export async function checkAccountReach({ account, paths, signal }: AccountReachOptions): Promise<void> {
  const wanted = [...new Set(paths.flatMap(wayTo))];
  const { ok, output } = await runCommand(
    'setpriv',
    [
      `--reuid=${account.uid}`,
      `--regid=${account.gid}`,
      '--clear-groups',
      '--',
      'sh',
      '-c',
      look,
      'sh',
      ...wanted,
    ],
    { signal },
  );
  if (ok) return;
  const closed = wanted.find((path) => path === output);
  if (closed === undefined) {
    throw new SetupError(
      'account-failed',
      `The account ${account.name}, which builds run as, cannot be used: ${output}. Check that setpriv (package util-linux) works.`,
    );
  }
  const folder = statSync(closed).isDirectory();
  throw new SetupError(
    'folder-closed',
    `Builds run as the account ${account.name}, which cannot ${folder ? 'pass through' : 'read'} ${closed}. ` +
      `Let it: chmod ${folder ? 'o+x' : 'o+r'} ${shellWord(closed)}   ` +
      'Or put what lies in there elsewhere: the data folder with --data DIR, Slipway itself by moving it.',
  );
}
