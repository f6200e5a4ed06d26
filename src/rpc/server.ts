import type { Duplex } from 'node:stream';
import { Server } from '@grpc/grpc-js';
import type { WorkerSessions } from '../manager/worker-sessions.ts';
import type { CallContext } from './calls.ts';
import { determineCachedTag } from './determine-cached-tag.ts';
import { BuildManagerService } from './generated/buildman.ts';
import { heartbeat } from './heartbeat.ts';
import { ConnectionInjector } from './injector.ts';
import { logBatches } from './log-batches.ts';
import { logMessage } from './log-message.ts';
import { ping } from './ping.ts';
import { registerBuildJob } from './register-build-job.ts';
import { setPhase } from './set-phase.ts';
import type { RpcLog } from './status.ts';
import type { WorkerTokens } from './tokens.ts';

/** The largest message either side takes. A log batch is about 1 MiB of text; a build pack may hold secret files. */
export const maximumMessageBytes = 8 * 1024 * 1024;

export interface RpcServerOptions {
  readonly sessions: WorkerSessions;
  readonly tokens: WorkerTokens;
  readonly log: RpcLog;
}

/**
 * Answers workers. It listens nowhere itself: whoever owns a port hands it accepted connections, TLS already ended.
 *
 * | state    | accept          | open streams                          |
 * |----------|-----------------|---------------------------------------|
 * | running  | served          | go on                                 |
 * | stopping | destroyed       | end with UNAVAILABLE, workers reconnect |
 * | stopped  | destroyed       | none                                  |
 */
export class RpcServer {
  readonly #server: Server;
  readonly #injector: ConnectionInjector;
  readonly #stopping = new AbortController();

  constructor({ sessions, tokens, log }: RpcServerOptions) {
    this.#server = new Server({
      'grpc.max_receive_message_length': maximumMessageBytes,
      'grpc.max_send_message_length': maximumMessageBytes,
      // A worker has three streams and a call or two under way.
      'grpc.max_concurrent_streams': 64,
      // A worker whose machine is gone holds its connection for 30 s at most.
      'grpc.keepalive_time_ms': 20_000,
      'grpc.keepalive_timeout_ms': 10_000,
    });
    const context: CallContext = { sessions, tokens, log, stopping: this.#stopping.signal };
    this.#server.addService(BuildManagerService, {
      ping,
      registerBuildJob: registerBuildJob(context),
      heartbeat: heartbeat(context),
      setPhase: setPhase(context),
      logMessage: logMessage(context),
      determineCachedTag: determineCachedTag(context),
      logBatches: logBatches(context),
    });
    this.#injector = new ConnectionInjector(this.#server, log);
  }

  /** Takes over a connection whose first bytes are, or will be, the HTTP/2 preface. */
  accept(connection: Duplex): void {
    if (this.#stopping.signal.aborted) connection.destroy();
    else this.#injector.accept(connection);
  }

  /** Ends the streams, gives calls under way `grace` milliseconds, then cuts every connection. Safe to call twice. */
  async stop(grace = 5_000): Promise<void> {
    this.#stopping.abort();
    await this.#injector.drain(grace);
    this.#server.forceShutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0);
  }
}
