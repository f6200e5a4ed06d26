import { boundCommand, freePort, ServerProcess } from '../services/service.ts';

/** Milliseconds. Long, because a machine with much to do starts the API server slowly. */
const startLimit = 120_000;
const attempts = 5;

export interface ComponentOptions {
  readonly program: string;
  readonly folder: string;
  /** So many loopback ports are chosen at the first start and kept from then on. */
  readonly ports?: number;
  readonly args: (ports: readonly number[]) => readonly string[];
  /** Whether it does its work yet. */
  readonly probe: (ports: readonly number[]) => Promise<boolean>;
}

/** One process of the control plane. It dies with the process of the test, however that ends. */
export class Component {
  readonly #options: ComponentOptions;
  #process: ServerProcess | undefined;
  #ports: readonly number[] | undefined;

  constructor(options: ComponentOptions) {
    this.#options = options;
  }

  get port(): number {
    const port = this.#ports?.[0];
    if (port === undefined) throw new Error(`${this.#options.program} has not been started`);
    return port;
  }

  /** Does nothing while it runs. */
  async start(): Promise<void> {
    if (this.#process !== undefined) return;
    const { program, folder, ports: wanted = 1, args, probe } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      const ports = this.#ports ?? (await Promise.all(Array.from({ length: wanted }, freePort)));
      const started = new ServerProcess(boundCommand(undefined, 'TERM', [program, ...args(ports)]), folder);
      try {
        if (await started.ready(() => probe(ports), startLimit)) {
          this.#process = started;
          this.#ports = ports;
          return;
        }
      } catch (thrown) {
        await started.stop('SIGKILL');
        throw thrown;
      }
      // Somebody else may have taken the port meanwhile.
      if (attempt === attempts) throw new Error(`${program} ends when it is started: ${started.output}`);
    }
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const stopping = this.#process;
    this.#process = undefined;
    await stopping?.stop(signal);
  }

  /** The last it wrote. */
  get output(): string {
    return this.#process?.output ?? '';
  }
}
