import type { Duplex } from 'node:stream';
import { Server } from '@grpc/grpc-js';
import type { WorkerSessions } from '../manager/worker-sessions.ts';
import type { CallContext } from './calls.ts';
import { determineCachedTag } from './determine-cached-tag.ts';
import { BuildManagerService } from './generated/buildman.ts';
import { heartbeat } from './heartbeat.ts';
import { ConnectionInjector } from './injector.ts';
import { type Keepalive, keepaliveOptions } from './keepalive.ts';
import { logBatches } from './log-batches.ts';
import { logMessage } from './log-message.ts';
import { ping } from './ping.ts';
import { registerBuildJob } from './register-build-job.ts';
import { setPhase } from './set-phase.ts';
import type { RpcLog } from './status.ts';
import type { WorkerTokens } from './tokens.ts';

/** The largest message either side takes. A log batch is about 1 MiB of text; a build pack may hold secret files. */
export const maximumMessageBytes = 8 * 1024 * 1024;

/**
 * Streams of one connection. A worker has three and a call or two under way, but a proxy that speaks HTTP/2 carries all
 * its workers on one connection: so there is room for about 670. It is no shield from who means harm, for whom it is as
 * cheap to open another connection: what a stream may hold here (`receiveWindow`, and one message in the making) is
 * bounded for each, and the port bounds the connections.
 */
export const maximumStreams = 2_048;

export interface RpcServerOptions {
  readonly sessions: WorkerSessions;
  readonly tokens: WorkerTokens;
  readonly log: RpcLog;
  /** How workers that are gone are noticed; within 30 s unless given. */
  readonly keepalive?: Keepalive;
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

  constructor({ sessions, tokens, log, keepalive }: RpcServerOptions) {
    this.#server = new Server({
      'grpc.max_receive_message_length': maximumMessageBytes,
      'grpc.max_send_message_length': maximumMessageBytes,
      'grpc.max_concurrent_streams': maximumStreams,
      // Counts of every message, which nobody looks at.
      'grpc.enable_channelz': 0,
      ...keepaliveOptions(keepalive),
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
