import { spawn } from 'node:child_process';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import type { WorkerAccount } from './worker-folder.ts';

export interface DiskKeeperOptions {
  /** What gives the disk back: a program that prints a report and exits with status 0. */
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  /** The account of the workers, whose store it is; absent: our own. */
  readonly account?: WorkerAccount;
  /** As for workers: the command becomes the account by itself. */
  readonly commandDropsPrivileges?: boolean;
  /** Whether no build runs and none waits. */
  readonly idle: () => Promise<boolean>;
  readonly clock: Clock;
  /** Milliseconds between two looks. */
  readonly every: number;
  readonly onReport: (report: string) => void;
  readonly onError: (error: Error) => void;
}

const reportBytes = 64 * 1024;

/**
 * Keeps what builds leave in the engine's store from filling the disk: looks now and then, and when nothing is to be
 * built has the store cleaned by a process of the workers' account. A build that begins meanwhile is not in its way:
 * the cleaning yields to builds by itself.
 *
 *     stopped → start → waiting ⇄ cleaning → stop → stopped
 */
export class DiskKeeper implements AsyncDisposable {
  readonly #options: DiskKeeperOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: DiskKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    const { clock, every, idle, onReport, onError } = this.#options;
    const { signal } = this.#stopping;
    for (;;) {
      await clock.sleep(every, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        if (!(await idle())) continue;
        const report = await this.#clean(signal);
        if (!signal.aborted) onReport(report);
      } catch (thrown) {
        if (!signal.aborted) onError(thrown instanceof Error ? thrown : new Error(messageOf(thrown)));
      }
    }
  }

  #clean(signal: AbortSignal): Promise<string> {
    const { account, environment, commandDropsPrivileges = false } = this.#options;
    const [program, ...args] = this.#options.command;
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, {
        cwd: '/',
        env: environment,
        stdio: ['ignore', 'pipe', 'pipe'],
        ...(account === undefined || commandDropsPrivileges ? {} : { uid: account.uid, gid: account.gid }),
      });
      const kill = () => child.kill('SIGKILL');
      signal.addEventListener('abort', kill, { once: true });
      const said = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr'] as const) {
        child[name].setEncoding('utf8').on('data', (text: string) => {
          said[name] = (said[name] + text).slice(-reportBytes);
        });
      }
      child.once('error', reject);
      child.once('close', (status, killedBy) => {
        signal.removeEventListener('abort', kill);
        if (status === 0) resolve(said.stdout.trim());
        else
          reject(
            new Error(
              `Cleaning the engine's store ended by ${killedBy ?? `status ${status}`}: ${said.stderr.trim()}`,
            ),
          );
      });
    });
  }

  /** Ends a cleaning that is under way. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
