import { type ClientDuplexStream, type ClientUnaryCall, credentials, Metadata, status } from '@grpc/grpc-js';
import {
  type BuildJobArgs,
  BuildManagerClient,
  type BuildPack,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type LogBatch,
  type LogBatchReply,
  LogType,
  Phase,
  type SetPhaseRequest,
  type SetPhaseResponse,
} from '../../src/rpc/generated/buildman.ts';
import { runToWire } from '../../src/rpc/log-batches.ts';
import type { AttemptFaults } from './schedule.ts';

/** A manager said that the log of an attempt is durable up to here. */
export interface Acknowledged {
  readonly attemptId: string;
  /** How many of the numbered lines (see workOf) that were acknowledged. */
  readonly lines: number;
}

/** What late reports say; no log may ever hold it. */
export const lateWords = 'said after the end of attempt';

const numberedLine = /^[LP] \d+$/gm;

interface Tap {
  readonly faults: AttemptFaults;
  token: string;
  lastReport: SetPhaseRequest | undefined;
  /** The manager took the last report, or refuses the worker: from here on nothing of it may count. */
  ended: boolean;
  readonly batches: Map<number, LogBatch>;
  counted: number;
  lines: number;
}

type Unary<Request, Reply> = (
  request: Request,
  metadata: Metadata,
  options: object,
  done: (error: { code: number } | null, reply: Reply) => void,
) => ClientUnaryCall;
type SetPhase = Unary<SetPhaseRequest, SetPhaseResponse>;
type Register = Unary<BuildJobArgs, BuildPack>;
type Stream<Request, Reply> = (...args: readonly unknown[]) => ClientDuplexStream<Request, Reply>;
type LogBatches = Stream<LogBatch, LogBatchReply>;
type Heartbeat = Stream<HeartbeatRequest, HeartbeatResponse>;

/**
 * Sits in the generated client that all workers of this process use, and sees what they say and what they are
 * answered. It doubles everything that some workers say, and after their end says again what they had said.
 */
export class Wiretap {
  readonly #taps = new Map<string, Tap>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #clients = new Set<BuildManagerClient>();
  readonly #front: string;
  readonly #acknowledged: (told: Acknowledged) => void;

  /** `front`: host:port of the managers. */
  constructor(options: {
    readonly front: string;
    readonly acknowledged: (told: Acknowledged) => void;
  }) {
    this.#front = options.front;
    this.#acknowledged = options.acknowledged;
    const { prototype } = BuildManagerClient as unknown as {
      prototype: {
        setPhase: SetPhase;
        registerBuildJob: Register;
        heartbeat: Heartbeat;
        logBatches: LogBatches;
      };
    };
    const { setPhase, registerBuildJob, heartbeat, logBatches } = prototype;
    const tapOf = (token: string) => this.#taps.get(attemptOf(token));
    const onReply = (...args: Parameters<Wiretap['onReply']>) => this.onReply(...args);
    const onBatchReply = (tap: Tap, attemptId: string, reply: LogBatchReply) =>
      this.#onBatchReply(tap, attemptId, reply);
    prototype.setPhase = function (this: BuildManagerClient, request, metadata, options, done) {
      const tap = tapOf(request.jobJwt);
      if (tap === undefined) return setPhase.call(this, request, metadata, options, done);
      tap.token = request.jobJwt;
      tap.lastReport = request;
      if (tap.faults.duplicates !== 'none') setPhase.call(this, request, new Metadata(), options, () => {});
      return setPhase.call(this, request, metadata, options, (error, reply) => {
        onReply(tap, request, error, reply);
        done(error, reply);
      });
    };
    prototype.registerBuildJob = function (this: BuildManagerClient, request, metadata, options, done) {
      const call = registerBuildJob.call(this, request, metadata, options, done);
      if ((tapOf(request.registerJwt)?.faults.duplicates ?? 'none') !== 'none')
        registerBuildJob.call(this, request, new Metadata(), options, () => {});
      return call;
    };
    prototype.heartbeat = function (this: BuildManagerClient, ...args) {
      const call = heartbeat.apply(this, args as []);
      const echo = new Echo(call, () => heartbeat.call(this));
      const write = call.write.bind(call);
      call.write = (beat: HeartbeatRequest): boolean => {
        const going = write(beat);
        echo.say(beat, write, tapOf(beat.jobJwt)?.faults.duplicates ?? 'none');
        return going;
      };
      return call;
    };
    prototype.logBatches = function (this: BuildManagerClient, ...args) {
      const call = logBatches.apply(this, args as []);
      const echo = new Echo(call, () => logBatches.call(this));
      let attemptId = '';
      let token = '';
      const write = call.write.bind(call);
      call.write = (batch: LogBatch): boolean => {
        if (batch.jobJwt !== '') {
          token = batch.jobJwt;
          attemptId = attemptOf(token);
        }
        tapsRemember(attemptId, batch);
        const going = write(batch);
        echo.say({ ...batch, jobJwt: token }, write, tapsGet(attemptId)?.faults.duplicates ?? 'none');
        return going;
      };
      call.on('data', (reply: LogBatchReply) => {
        const tap = tapsGet(attemptId);
        if (tap !== undefined) onBatchReply(tap, attemptId, reply);
      });
      return call;
    };
    const tapsGet = (attemptId: string) => this.#taps.get(attemptId);
    const tapsRemember = (attemptId: string, batch: LogBatch) => {
      const tap = this.#taps.get(attemptId);
      if (tap === undefined) return;
      if (batch.jobJwt !== '') tap.token = batch.jobJwt;
      tap.batches.set(batch.sequenceNumber, batch);
    };
  }

  listen(attemptId: string, faults: AttemptFaults): void {
    this.#taps.set(attemptId, {
      faults,
      token: '',
      lastReport: undefined,
      ended: false,
      batches: new Map(),
      counted: 0,
      lines: 0,
    });
  }

  onReply(tap: Tap, request: SetPhaseRequest, error: { code: number } | null, reply: SetPhaseResponse): void {
    const last = request.phase === Phase.COMPLETE || request.phase === Phase.ERROR;
    if (error === null ? last && reply.success : error.code === status.UNAUTHENTICATED) tap.ended = true;
  }

  #onBatchReply(tap: Tap, attemptId: string, { sequenceNumber, success }: LogBatchReply): void {
    if (!success || sequenceNumber <= tap.counted) return;
    for (let number = tap.counted + 1; number <= sequenceNumber; number += 1) {
      for (const { text } of tap.batches.get(number)?.runs ?? []) {
        tap.lines += text.toString('latin1').match(numberedLine)?.length ?? 0;
      }
    }
    tap.counted = sequenceNumber;
    this.#acknowledged({ attemptId, lines: tap.lines });
  }

  /** The worker is gone. */
  over(attemptId: string): void {
    const tap = this.#taps.get(attemptId);
    this.#taps.delete(attemptId);
    if (tap?.faults.lateReports === undefined || tap.token === '') return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#speakLate(attemptId, tap);
    }, tap.faults.lateReports);
    this.#timers.add(timer);
  }

  #speakLate(attemptId: string, { token, lastReport, batches, ended }: Tap): void {
    const client = new BuildManagerClient(this.#front, credentials.createInsecure());
    this.#clients.add(client);
    const close = setTimeout(() => {
      this.#timers.delete(close);
      this.#clients.delete(client);
      client.close();
    }, 5_000);
    this.#timers.add(close);
    const options = { deadline: Date.now() + 5_000 };
    if (lastReport !== undefined) {
      client.setPhase(lastReport, new Metadata(), options, () => {});
      if (ended) {
        const again = { ...lastReport, sequenceNumber: lastReport.sequenceNumber + 1 };
        client.setPhase(again, new Metadata(), options, () => {});
        client.setPhase({ ...again, phase: Phase.BUILDING }, new Metadata(), options, () => {});
      }
    }
    const stream = client.logBatches(options);
    stream.on('error', () => {});
    stream.on('data', () => {});
    const lastBatch = Math.max(0, ...batches.keys());
    const again = batches.get(lastBatch);
    if (again !== undefined) stream.write({ ...again, jobJwt: token });
    if (ended) {
      const text = Buffer.from(`${lateWords} ${attemptId}`);
      const run = { ...runToWire({ text, count: 1, time: Date.now() }), type: LogType.OUTPUT };
      stream.write({ jobJwt: token, sequenceNumber: lastBatch + 1, runs: [run] });
    }
    stream.end();
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const client of this.#clients) client.close();
  }
}

/** Says again what is said on a stream, on the same one or on one of its own, which ends with it. */
class Echo<Request, Reply> {
  readonly #of: ClientDuplexStream<Request, Reply>;
  readonly #open: () => ClientDuplexStream<Request, Reply>;
  #stream: ClientDuplexStream<Request, Reply> | undefined;

  constructor(of: ClientDuplexStream<Request, Reply>, open: () => ClientDuplexStream<Request, Reply>) {
    this.#of = of;
    this.#open = open;
  }

  say(request: Request, write: (request: Request) => boolean, where: AttemptFaults['duplicates']): void {
    if (where === 'same-stream') write(request);
    if (where !== 'other-stream') return;
    this.#stream ??= this.#begin();
    this.#stream.write(request);
  }

  #begin(): ClientDuplexStream<Request, Reply> {
    const stream = this.#open();
    const end = () => stream.cancel();
    // Its answers are nobody's; and one that was refused is not opened again.
    stream.on('error', () => {});
    stream.resume();
    this.#of.once('close', end);
    this.#of.once('error', end);
    this.#of.once('end', end);
    return stream;
  }
}

/** From the claims of a token of the worker's, which nobody has to check here. */
function attemptOf(token: string): string {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      readonly context?: { readonly attempt_id?: string };
    };
    return claims.context?.attempt_id ?? '';
  } catch {
    return '';
  }
}
