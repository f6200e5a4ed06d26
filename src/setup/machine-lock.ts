import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { messageOf } from '../base/coded-error.ts';
import { systemPath } from './command.ts';
import { SetupError } from './setup-error.ts';

/** Held by whoever changes the machine. In /run, which only root can write to. */
export const machineLockFile = '/run/slipway-setup.lock';

export interface MachineLock extends AsyncDisposable {}

/**
 * Takes the machine's set-up lock, waiting for another set-up at most `wait` seconds. A child holds it (flock(1))
 * for as long as our end of its standard input is open, so the lock ends with this process however that ends.
 */
export async function lockMachine(
  report: (line: string) => void,
  {
    file = machineLockFile,
    wait = 900,
    signal,
  }: { file?: string; wait?: number; signal?: AbortSignal | undefined } = {},
): Promise<MachineLock> {
  signal?.throwIfAborted();
  const command = `flock -n 9 || { echo waiting; flock -w ${wait} 9 || exit 75; }; echo held; exec cat >/dev/null`;
  const child = spawn('sh', ['-c', `{ ${command}; } 9>>"$0"`, file], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: systemPath },
    // A group of its own, so that giving up ends the waiting flock as well as the shell.
    detached: true,
  });
  let complaint = '';
  child.stderr.on('data', (bytes: Buffer) => {
    complaint = (complaint + bytes.toString()).slice(-4096);
  });
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', (error) => {
      complaint += messageOf(error);
      resolve();
    });
  });
  const release = async (): Promise<void> => {
    child.stdin.destroy();
    await ended;
  };
  const abort = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // The group is gone already.
    }
  };
  signal?.addEventListener('abort', abort, { once: true });
  try {
    for (;;) {
      const said = await Promise.race([once(child.stdout, 'data').then(([bytes]) => String(bytes)), ended]);
      signal?.throwIfAborted();
      if (said === undefined) {
        throw new SetupError(
          'machine-locked',
          complaint === ''
            ? `Another Slipway set-up has held ${file} for ${wait} s. Wait for it to end, or end it, and start again.`
            : `Cannot take the set-up lock ${file}: ${complaint.trim()}. Check that the folder exists and can be written.`,
        );
      }
      if (said.includes('held')) return { [Symbol.asyncDispose]: release };
      report('waiting for another set-up on this machine to end');
    }
  } catch (thrown) {
    abort();
    await ended;
    throw thrown;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
