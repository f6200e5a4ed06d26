import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ManagedProcessOptions {
  readonly name: string;
  /** Of the module in this folder. */
  readonly module: string;
  readonly config: object;
  /** For its configuration and its output. */
  readonly folder: string;
  /** In the environment of the process and of what it starts, so that they can be told from all others. */
  readonly mark: string;
  /** Told when it ended though nobody ended it, after it had been ready. */
  readonly onCrash: (name: string, how: string) => void;
}

/** Milliseconds. Long, because a start fails again and again while its database is away, on a machine with much to do. */
const startLimit = 180_000;

interface Life {
  readonly child: ChildProcess;
  readonly over: Promise<void>;
  ready: boolean;
  /** Somebody ended it. */
  expected: boolean;
}

/** A process of the fault runner that is ended, frozen and started again; at most one at a time. It dies with the runner. */
export class ManagedProcess {
  readonly name: string;
  readonly output: string;
  readonly #options: ManagedProcessOptions;
  #life: Life | undefined;
  /** Counts the wishes to start or end it: only the last one counts. */
  #wish = 0;

  constructor(options: ManagedProcessOptions) {
    this.name = options.name;
    this.#options = options;
    this.output = join(options.folder, `${options.name}.out`);
  }

  /**
   * Resolves when it can be used, or when somebody wishes otherwise meanwhile. One that ends while it starts (its
   * database is away, say) is started again, as a service manager does.
   */
  async start(): Promise<void> {
    const { config, folder, name } = this.#options;
    const wish = ++this.#wish;
    const file = join(folder, `${name}.json`);
    await writeFile(file, JSON.stringify(config));
    for (const deadline = Date.now() + startLimit; wish === this.#wish; await sleep(300)) {
      if (await this.#launch(file, wish)) return;
      if (Date.now() > deadline) throw new Error(`${name} does not come up: ${this.lastWords()}`);
    }
  }

  async #launch(configFile: string, wish: number): Promise<boolean> {
    const { module, folder, mark, onCrash, name } = this.#options;
    await this.#life?.over;
    if (wish !== this.#wish) return false;
    const out = openSync(this.output, 'a');
    const child = spawn(
      'setpriv',
      [
        ...[
          '--pdeathsig',
          'KILL',
          '--',
          process.execPath,
          '--disable-warning=ExperimentalWarning',
          '--trace-warnings',
        ],
        ...['--max-semi-space-size=2', join(import.meta.dirname, module), configFile],
      ],
      {
        cwd: folder,
        stdio: ['ignore', out, out, 'ipc'],
        env: { PATH: process.env.PATH ?? '', HOME: folder, SLIPWAY_CHAOS_RUN: mark },
      },
    );
    closeSync(out);
    // A message to a process that is being ended.
    child.on('error', () => {});
    return await new Promise<boolean>((resolve) => {
      const life: Life = {
        child,
        ready: false,
        expected: false,
        over: new Promise((gone) => {
          child.once('exit', (code, signal) => {
            if (life.ready && !life.expected)
              onCrash(name, `${signal ?? `status ${code}`}: ${this.lastWords()}`);
            if (this.#life === life) this.#life = undefined;
            gone();
            resolve(false);
          });
        }),
      };
      this.#life = life;
      child.once('message', () => {
        life.ready = true;
        resolve(true);
      });
    });
  }

  /** The end of its output. */
  lastWords(): string {
    return readFileSync(this.output, 'utf8').slice(-4_000);
  }

  send(message: object): void {
    const child = this.#life?.child;
    if (child?.connected) child.send(message, () => {});
  }

  /** Returns what lets the same process go on. */
  freeze(): () => void {
    const child = this.#life?.child;
    child?.kill('SIGSTOP');
    return () => void child?.kill('SIGCONT');
  }

  /** Ends it at once. It stays so until it is started. */
  async kill(): Promise<void> {
    this.#wish += 1;
    const life = this.#life;
    if (life === undefined) return;
    life.expected = true;
    life.child.kill('SIGKILL');
    await life.over;
  }

  /** Asks it to end in order; false: it did not in `limit` milliseconds, and was ended. */
  async retire(limit: number): Promise<boolean> {
    this.#wish += 1;
    const life = this.#life;
    if (life === undefined) return true;
    life.expected = true;
    life.child.kill('SIGCONT');
    life.child.kill('SIGTERM');
    const over = life.over.then(() => true);
    const inOrder = await Promise.race([over, sleep(limit, false, { ref: false })]);
    if (!inOrder) await this.kill();
    return inOrder;
  }
}
