import { spawn } from 'node:child_process';
import { messageOf } from '../../base/coded-error.ts';
import { cancelled, EngineError, throwIfCancelled } from './engine-error.ts';
import { unwritten, writtenOrAborted } from './log-write.ts';

/**
 * Runs one engine process in user, mount and pid namespaces of its own, in which it is root over the account's
 * subordinate ids. It is process 1 in there, so its death is the death of everything below it, and its mounts go
 * with its mount namespace. What may kill it:
 *
 *   this process dies       → PR_SET_PDEATHSIG on the launcher → the launcher dies
 *   `signal` fires          → SIGKILL to the launcher
 *   the launcher dies       → `--kill-child`: SIGKILL to process 1 → the kernel ends the namespace
 *
 * The launcher has a session of its own: a TERM meant for the worker's process group leaves it to the worker when
 * and how its engine ends.
 */
export interface ConfinedCommand {
  readonly argv: readonly [string, ...string[]];
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Held shared for as long as anything of the command runs. */
  readonly sharedLock?: string;
  /** Taken exclusively without waiting; status 75 when it is held. */
  readonly exclusiveLock?: string;
  /**
   * `own` (default): /proc is that of the new pid namespace. `outer`: it is left as it is, for containers, whose masked
   * /proc keeps the kernel from mounting another one. Processes outside can then be seen, but not looked into.
   */
  readonly proc?: 'own' | 'outer';
}

export const lockIsHeld = 75;

export type Ending = { readonly status: number } | { readonly killedBy: NodeJS.Signals };

/**
 * Runs after PDEATHSIG is set, so a parent that died before is noticed by the changed parent id. Standard error
 * joins standard output here, so that both arrive in one pipe in the order written.
 */
const launcher = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@" 2>&1';

const namespaces = ['unshare', '--user', '--map-auto', '--map-root-user', '--pid', '--fork', '--kill-child'];

export async function runConfined(
  command: ConfinedCommand,
  write: (bytes: Buffer) => Promise<void>,
  signal: AbortSignal,
): Promise<Ending> {
  throwIfCancelled(signal);
  const child = spawn(
    'setpriv',
    [
      '--pdeathsig',
      'KILL',
      'sh',
      '-c',
      launcher,
      'slipway-engine',
      String(process.pid),
      ...lockPrefix(command),
      ...namespaces,
      command.proc === 'outer' ? '--mount' : '--mount-proc',
      '--',
      ...command.argv,
    ],
    { cwd: command.cwd, env: command.env, stdio: ['ignore', 'pipe', 'ignore'], detached: true },
  );
  const ended = new Promise<Ending>((resolve, reject) => {
    child.once('error', (thrown) => reject(cannotStart(thrown)));
    child.once('close', (status, killedBy) => {
      resolve(killedBy === null ? { status: status ?? 1 } : { killedBy });
    });
  });
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  if (signal.aborted) kill();

  let writeFailure: { thrown: unknown } | undefined;
  const read = async () => {
    for await (const bytes of child.stdout) {
      // After a kill the rest is read and dropped, so that the pipe closes.
      if (writeFailure !== undefined || signal.aborted) continue;
      try {
        await writtenOrAborted(write(bytes), signal);
      } catch (thrown) {
        writeFailure = { thrown };
        kill();
      }
    }
  };
  try {
    const [ending] = await Promise.all([ended, read()]);
    if (signal.aborted) throw cancelled(signal);
    if (writeFailure !== undefined) throw unwritten(writeFailure.thrown);
    return ending;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

function lockPrefix({ sharedLock, exclusiveLock }: ConfinedCommand): string[] {
  if (exclusiveLock !== undefined) {
    return ['flock', '--exclusive', '--nonblock', '-E', String(lockIsHeld), '--no-fork', exclusiveLock];
  }
  return sharedLock === undefined ? [] : ['flock', '--shared', '--no-fork', sharedLock];
}

function cannotStart(thrown: unknown): EngineError {
  return new EngineError(
    'enginemissing',
    `The build engine could not be started: ${messageOf(thrown)}. Install util-linux (setpriv, unshare, flock).`,
    thrown,
  );
}
