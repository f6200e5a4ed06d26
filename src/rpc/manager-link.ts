import { setMaxListeners } from 'node:events';
import { ChannelCredentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import type { StageReport, WorkerCapabilities } from '../manager/worker-sessions.ts';
import { packFromWire, type ReceivedBuildPack } from './build-pack.ts';
import {
  BuildManagerClient,
  type BuildPack,
  type PingReply,
  type SetPhaseResponse,
} from './generated/buildman.ts';
import { Heartbeats } from './heartbeats.ts';
import { type Keepalive, keepaliveOptions } from './keepalive.ts';
import { LogUplink } from './log-uplink.ts';
import { RpcError } from './rpc-error.ts';
import { reportToWire } from './stage-report.ts';

export interface ManagerLinkOptions {
  /** host:port */
  readonly server: string;
  /** Absent: clear text. `ca`: PEM of the authorities to trust instead of the machine's. */
  readonly tls?: { readonly ca?: Buffer };
  readonly clock: Clock;
  /** What an operator may want to know; holds no secret. */
  readonly log: (text: string) => void;
  /** Milliseconds without an answer after which the manager is given up. */
  readonly giveUpAfter?: number;
  readonly heartbeatEvery?: number;
  /** How a manager that is gone is noticed by the connection; within 30 s unless given. */
  readonly keepalive?: Keepalive;
  /** Bytes of log that may wait for the manager before `LogUplink.send` makes its caller wait. */
  readonly logBuffer?: number;
}

const maximumMessageBytes = 8 * 1024 * 1024;
const callDeadline = 10_000;
const retry = { first: 100, cap: 2_000 };

/**
 * A worker's side of the protocol: one connection that is made again whenever it breaks, until the manager has not
 * answered for `giveUpAfter`. Registering starts the heartbeats and opens the log.
 *
 * | state      | begins with               | calls allowed             |
 * |------------|---------------------------|---------------------------|
 * | connecting | the constructor           | `connect`, `register`     |
 * | registered | a build pack has come     | `setPhase`, `log`         |
 * | ended      | `ended` fires, or `close` | none: they reject         |
 */
export class ManagerLink {
  readonly #options: ManagerLinkOptions;
  readonly #client: BuildManagerClient;
  readonly #end = new AbortController();
  readonly #giveUpAfter: number;
  #lastAnswer: number;
  #session: { readonly token: string; readonly heartbeats: Heartbeats; readonly log: LogUplink } | undefined;
  #phaseSequence = 0;

  constructor(options: ManagerLinkOptions) {
    this.#options = options;
    this.#giveUpAfter = options.giveUpAfter ?? 60_000;
    this.#lastAnswer = options.clock.now();
    // Every stream and waiting call listens; they are few, but more than Node takes for a leak.
    setMaxListeners(0, this.#end.signal);
    const credentials =
      options.tls === undefined
        ? ChannelCredentials.createInsecure()
        : ChannelCredentials.createSsl(options.tls.ca ?? null);
    this.#client = new BuildManagerClient(options.server, credentials, {
      'grpc.max_receive_message_length': maximumMessageBytes,
      'grpc.max_send_message_length': maximumMessageBytes,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // Several links of one process have a connection each: one is too few for the streams of many workers.
      'grpc.use_local_subchannel_pool': 1,
      // What a link has to repeat it repeats itself, and nobody looks at the counts.
      'grpc.enable_retries': 0,
      'grpc.enable_channelz': 0,
      'grpc.service_config_disable_resolution': 1,
      ...keepaliveOptions(options.keepalive),
      // A proxy for the build's downloads does not lead back to this machine.
      ...(isLoopback(options.server) ? { 'grpc.enable_http_proxy': 0 } : {}),
    });
  }

  /** Fires once, with an RpcError as reason: unreachable, refused, cancelled, protocol, or closed. */
  get ended(): AbortSignal {
    return this.#end.signal;
  }

  /** The registered worker's log. */
  get log(): LogUplink {
    if (this.#session === undefined) throw new TypeError('a worker has a log once it has registered');
    return this.#session.log;
  }

  /** Waits until the manager answers; rejects with RpcError. */
  async connect(): Promise<void> {
    const { reply } = await this.#untilAnswered('Ping', (deadline) =>
      this.#unary<PingReply>((done) => this.#client.ping({}, new Metadata(), { deadline }, done)),
    );
    if (reply !== 'pong')
      throw new RpcError('protocol', `What answers at ${this.#options.server} is no build manager.`);
  }

  /** Exchanges the registration token for the build pack; rejects with RpcError. */
  async register(registrationToken: string, capabilities: WorkerCapabilities): Promise<ReceivedBuildPack> {
    const wire = await this.#untilAnswered('RegisterBuildJob', (deadline) =>
      this.#unary<BuildPack>((done) =>
        this.#client.registerBuildJob(
          { registerJwt: registrationToken, capabilities },
          new Metadata(),
          { deadline },
          done,
        ),
      ),
    );
    const { pack, jobToken } = packFromWire(wire);
    this.#session = {
      token: jobToken,
      heartbeats: new Heartbeats({
        ...this.#streamOptions(jobToken),
        every: this.#options.heartbeatEvery ?? 2_000,
      }),
      log: new LogUplink({
        ...this.#streamOptions(jobToken),
        buffer: this.#options.logBuffer ?? 16 * 1024 * 1024,
      }),
    };
    this.#session.heartbeats.start();
    return pack;
  }

  /** False: the manager knows better, for example because the attempt is over. Rejects with RpcError. */
  async setPhase(report: StageReport): Promise<boolean> {
    const token = this.#session?.token;
    if (token === undefined) throw new TypeError('a worker sets phases once it has registered');
    const sequenceNumber = ++this.#phaseSequence;
    const request = { jobJwt: token, sequenceNumber, ...reportToWire(report) };
    const { success } = await this.#untilAnswered('SetPhase', (deadline) =>
      this.#unary<SetPhaseResponse>((done) =>
        this.#client.setPhase(request, new Metadata(), { deadline }, done),
      ),
    );
    return success;
  }

  /** Ends the streams and the connection. What the log still holds is dropped. Safe to call twice. */
  async close(): Promise<void> {
    this.#finish(new RpcError('closed', 'The worker has closed its connection to the build manager.'));
    await Promise.all([this.#session?.heartbeats.stopped, this.#session?.log.stopped]);
    this.#client.close();
  }

  #streamOptions(token: string) {
    return {
      client: this.#client,
      token,
      clock: this.#options.clock,
      log: this.#options.log,
      ended: this.#end.signal,
      onAnswer: () => this.#answered(),
      onFailure: (thrown: unknown) => this.#failed(thrown),
      onEnd: (reason: RpcError) => this.#finish(reason),
    };
  }

  #answered(): void {
    this.#lastAnswer = this.#options.clock.now();
  }

  /** Decides whether a failure is final; if it is, the link has ended when this returns. */
  #failed(thrown: unknown): void {
    const final = finalError(thrown);
    if (final !== undefined) {
      this.#finish(final);
      return;
    }
    if (this.#options.clock.now() - this.#lastAnswer < this.#giveUpAfter) return;
    const seconds = Math.round(this.#giveUpAfter / 1000);
    this.#finish(
      new RpcError(
        'unreachable',
        `The build manager at ${this.#options.server} has not answered for ${seconds} s (${messageOf(thrown)}).`,
        thrown,
      ),
    );
  }

  #finish(reason: RpcError): void {
    if (!this.#end.signal.aborted) this.#end.abort(reason);
  }

  async #untilAnswered<Reply>(rpc: string, call: (deadline: Date) => Promise<Reply>): Promise<Reply> {
    for (let tries = 0; ; tries++) {
      this.#end.signal.throwIfAborted();
      try {
        const reply = await call(new Date(Date.now() + callDeadline));
        this.#answered();
        return reply;
      } catch (thrown) {
        if (rpc === 'RegisterBuildJob' && isService(thrown) && thrown.code === status.INTERNAL) {
          throw new RpcError('not-started', thrown.details, thrown);
        }
        this.#failed(thrown);
        this.#end.signal.throwIfAborted();
        if (tries === 0) this.#options.log(`${rpc} failed, trying again: ${messageOf(thrown)}`);
        await this.#options.clock.sleep(backOff(tries, retry), this.#end.signal).catch(() => {});
      }
    }
  }

  #unary<Reply>(
    start: (done: (error: ServiceError | null, reply: Reply) => void) => { cancel(): void },
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const onEnd = (): void => call.cancel();
      const call = start((error, reply) => {
        this.#end.signal.removeEventListener('abort', onEnd);
        if (error === null) resolve(reply);
        else reject(error);
      });
      this.#end.signal.addEventListener('abort', onEnd, { once: true });
    });
  }
}

/** Undefined: trying again may help. */
function finalError(thrown: unknown): RpcError | undefined {
  if (thrown instanceof RpcError) return thrown;
  if (!isService(thrown)) return undefined;
  switch (thrown.code) {
    case status.UNAUTHENTICATED:
      return new RpcError('refused', `The build manager refuses this worker: ${thrown.details}`, thrown);
    case status.UNIMPLEMENTED:
    case status.INVALID_ARGUMENT:
      return new RpcError('protocol', `The build manager does not know this call: ${thrown.details}`, thrown);
    default:
      return undefined;
  }
}

function isService(thrown: unknown): thrown is ServiceError {
  return (
    thrown instanceof Error && 'code' in thrown && 'details' in thrown && typeof thrown.code === 'number'
  );
}

function isLoopback(server: string): boolean {
  return /^(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+$/.test(server);
}
