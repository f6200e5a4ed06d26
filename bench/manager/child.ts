import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

interface Tagged {
  readonly kind: string;
}

/** A process of this benchmark: what it says, by kind, and what is said to it. */
export class Child<To extends Tagged, From extends Tagged> {
  readonly #process: ChildProcess;
  readonly #last = new Map<string, From>();
  #waiting: (() => void)[] = [];

  constructor(file: string, options: object, nodeOptions: readonly string[] = []) {
    this.#process = fork(fileURLToPath(new URL(file, import.meta.url)), [JSON.stringify(options)], {
      execArgv: [...process.execArgv, ...nodeOptions],
    });
    this.#process.on('message', (message: From) => {
      this.#last.set(message.kind, message);
      this.#wake();
    });
    this.#process.on('exit', () => this.#wake());
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** The last message of a kind, taken away; waits for one when there is none. */
  async take<Kind extends From['kind']>(kind: Kind): Promise<Extract<From, { kind: Kind }>> {
    for (;;) {
      const message = this.#last.get(kind) as Extract<From, { kind: Kind }> | undefined;
      const failed = this.#last.get('failed') as { message?: string } | undefined;
      if (failed !== undefined) throw new Error(failed.message);
      if (message !== undefined) {
        this.#last.delete(kind);
        return message;
      }
      if (this.#process.exitCode !== null || this.#process.signalCode !== null) {
        throw new Error('a process of the benchmark ended early');
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async ask<Kind extends From['kind']>(message: To, kind: Kind): Promise<Extract<From, { kind: Kind }>> {
    this.#last.delete(kind);
    this.tell(message);
    return await this.take(kind);
  }

  tell(message: To): void {
    this.#process.send(message);
  }

  async stop(message: To): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    if (this.#process.connected) this.tell(message);
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 20_000);
    await exited;
    clearTimeout(timer);
  }
}
