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

const startLimit = 45_000;

/** A process of the fault runner that is ended, frozen and started again. It dies with the runner. */
export class ManagedProcess {
  readonly name: string;
  readonly output: string;
  readonly #options: ManagedProcessOptions;
  #child: ChildProcess | undefined;
  #over: Promise<void> = Promise.resolve();
  #expected = false;
  #ready = false;
  #closed = false;

  constructor(options: ManagedProcessOptions) {
    this.#options = options;
    this.name = options.name;
    this.output = join(options.folder, `${options.name}.out`);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get ready(): boolean {
    return this.#ready;
  }

  /**
   * Resolves when it can be used. One that ends while it starts (its database is away, say) is started again, as a
   * service manager does.
   */
  async start(): Promise<void> {
    const { config, folder, name } = this.#options;
    const file = join(folder, `${name}.json`);
    await writeFile(file, JSON.stringify(config));
    for (const deadline = Date.now() + startLimit; !this.#closed; ) {
      if (await this.#launch(file)) return;
      if (Date.now() > deadline) {
        throw new Error(`${name} does not come up: ${this.#lastWords()}`);
      }
      await sleep(300);
    }
  }

  #lastWords(): string {
    return readFileSync(this.output, 'utf8').slice(-4_000);
  }

  #launch(configFile: string): Promise<boolean> {
    const { module, folder, mark, onCrash, name } = this.#options;
    const out = openSync(this.output, 'a');
    const child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', '--', process.execPath, '--disable-warning=ExperimentalWarning'],
        ...['--max-semi-space-size=2', join(import.meta.dirname, module), configFile],
      ],
      {
        cwd: folder,
        stdio: ['ignore', out, out, 'ipc'],
        env: { PATH: process.env.PATH ?? '', HOME: folder, SLIPWAY_CHAOS_RUN: mark },
      },
    );
    closeSync(out);
    this.#child = child;
    this.#expected = false;
    this.#ready = false;
    // A message to a process that is being ended.
    child.on('error', () => {});
    return new Promise((resolve) => {
      child.once('message', () => {
        this.#ready = true;
        resolve(true);
      });
      this.#over = new Promise((gone) => {
        child.once('exit', (code, signal) => {
          if (this.#ready && !this.#expected)
            onCrash(name, `${signal ?? `status ${code}`}: ${this.#lastWords()}`);
          this.#ready = false;
          if (this.#child === child) this.#child = undefined;
          gone();
          resolve(false);
        });
      });
    });
  }

  send(message: object): void {
    if (this.#child?.connected) this.#child.send(message, () => {});
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    this.#expected = true;
    this.#child?.kill('SIGKILL');
    await this.#over;
  }

  /** Asks it to end in order; false: it did not in `limit` milliseconds, and was ended. */
  async retire(limit: number): Promise<boolean> {
    this.#expected = true;
    this.#child?.kill('SIGCONT');
    this.#child?.kill('SIGTERM');
    const inOrder = await Promise.race([this.#over.then(() => true), sleep(limit, false, { ref: false })]);
    if (!inOrder) await this.kill();
    return inOrder;
  }

  /** Ends it for good. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.kill();
  }
}
