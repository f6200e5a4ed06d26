import type { Duplex } from 'node:stream';
import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { widenReceiveWindows } from './receive-window.ts';
import type { RpcLog } from './status.ts';

/** Feeds connections that somebody else accepted to a gRPC server, and knows which of them are open. */
export class ConnectionInjector {
  readonly #inner: ReturnType<Server['createConnectionInjector']>;
  readonly #open = new Set<Duplex>();
  readonly #log: RpcLog;
  readonly #narrow: () => void;
  #wake: (() => void) | undefined;

  constructor(server: Server, log: RpcLog) {
    // The connections are clear text here: TLS has ended at the port's owner.
    this.#inner = server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#log = log;
    this.#narrow = widenReceiveWindows();
  }

  accept(connection: Duplex): void {
    this.#open.add(connection);
    connection.once('close', () => {
      this.#open.delete(connection);
      if (this.#open.size === 0) this.#wake?.();
    });
    // A peer may vanish at any moment; the session ends with the connection.
    connection.on('error', (error) => this.#log.info({ err: error }, 'a connection of a worker broke'));
    this.#inner.injectConnection(connection);
  }

  /** Lets every connection finish what is under way for `grace` milliseconds, then destroys it. */
  async drain(grace: number): Promise<void> {
    this.#inner.drain(grace);
    if (this.#open.size > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, grace);
      });
      clearTimeout(timer);
    }
    for (const connection of this.#open) connection.destroy();
    this.#inner.destroy();
    this.#narrow();
  }
}
