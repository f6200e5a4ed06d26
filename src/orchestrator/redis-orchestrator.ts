import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { type AttemptId, parseAttemptId } from '../model/ids.ts';
import { BeatBook, type KnownBeat } from './beat-book.ts';
import { Errand } from './errand.ts';
import type { Orchestrator, OrchestratorEvent } from './orchestrator.ts';
import { needsConfiguration, OrchestratorError } from './orchestrator-error.ts';
import { RedisLink, type RedisState } from './redis-link.ts';
import { formatMessage, parseMessage } from './redis-message.ts';
import { type RedisServer, type RedisSession, texts } from './redis-session.ts';

export interface RedisOrchestratorOptions {
  readonly server: RedisServer;
  /** ORCHESTRATOR_PREFIX: in front of every key and channel, with a `/` between when it ends in neither `/` nor `:`. */
  readonly prefix: string;
  /** REDIS_SKIP_KEYSPACE_EVENT_SETUP */
  readonly skipKeyspaceEventSetup?: boolean;
  readonly clock: Clock;
  /** Milliseconds that only go forwards, whatever happens to the clock. */
  readonly steady?: () => number;
  /** The connection came or broke. Called once for each try in vain, too. */
  readonly onState?: (state: RedisState) => void;
  /** Something is wrong that the orchestrator works around. */
  readonly onWarning?: (error: OrchestratorError) => void;
  readonly timing?: Partial<RedisTiming>;
}

/** Milliseconds. */
export interface RedisTiming {
  /** Heartbeats that come in between are written together. */
  readonly writeEvery: number;
  /** How often this process looks whose time is up. */
  readonly lookEvery: number;
  /** How often everything that other managers wrote is read, and both connections are asked for a sign of life. */
  readonly scanEvery: number;
  /** How long an answer may take. */
  readonly patience: number;
  readonly backOff: { readonly first: number; readonly cap: number };
}

const usual: RedisTiming = {
  writeEvery: 500,
  lookEvery: 1_000,
  scanEvery: 5_000,
  patience: 2_000,
  backOff: { first: 100, cap: 5_000 },
};

/** Heartbeats in one command, and commands that go out together. */
const portion = 500;
/** Hints that wait for their turn; of more the oldest go. */
const waitingEvents = 1_000;
/** A key may expire this much before this process's own reckoning. */
const slack = 50;
/** How far two processes' ideas of Redis's clock may be apart. */
const unsteadiness = 1_000;
/** The beats outlive the last manager by this. */
const keptFor = 600_000;
/** While nothing is known of an attempt, silence after a reconnection is not counted for this long. */
const graceUnknown = 60_000;

/**
 * The orchestrator of any number of managers that share one Redis.
 *
 * | key or channel           | holds                                                                            |
 * |--------------------------|----------------------------------------------------------------------------------|
 * | `<prefix>beats`          | hash: attempt → `<time of the last beat>:<time to live>`, times on Redis's clock |
 * | `<prefix>beat:<attempt>` | nothing; it expires when the attempt does, and every manager is told             |
 * | `<prefix>events:<db>`    | channel: events between managers, as redis-message.ts has them                   |
 *
 * A call only changes this process's book and wakes an errand, so none waits for Redis but `lastBeat`, which asks when
 * an attempt seems to be silent, and gives up soon. What one process heard goes out in few commands for many attempts.
 *
 * While there is no session, this process is deaf: nothing expires, and silence counts from the reconnection on. That
 * Redis forgot everything is not even noticed: what matters is in the books, and each beat writes its attempt again.
 */
export class RedisOrchestrator implements Orchestrator {
  readonly #options: RedisOrchestratorOptions;
  readonly #timing: RedisTiming;
  readonly #steady: () => number;
  readonly #name = randomUUID();
  readonly #book = new BeatBook();
  readonly #link: RedisLink;
  readonly #listeners = new Set<(event: OrchestratorEvent) => void>();
  readonly #closing = new AbortController();
  readonly #writing: Errand;
  readonly #telling: Errand;
  readonly #looking: Errand;
  readonly #keys: { readonly beats: string; readonly beat: string; readonly channel: string };
  #events: OrchestratorEvent[] = [];
  #forgotten: AttemptId[] = [];
  /** Builds whose log has grown, by an event that waits: once is enough. */
  readonly #toldLogs = new Set<string>();
  /** Forgotten here, still to be deleted there. */
  readonly #toDelete = new Set<AttemptId>();
  /** When this process could hear again after it was deaf. */
  #hearsSince: number | undefined;
  #mayHaveMissed = false;
  #lastScan = Number.NEGATIVE_INFINITY;
  #asking: { readonly attempts: Set<AttemptId>; readonly answer: Promise<void> } | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: RedisOrchestratorOptions) {
    this.#options = options;
    this.#timing = { ...usual, ...options.timing };
    this.#steady = options.steady ?? (() => performance.now());
    const { server, clock } = options;
    const prefix = withSeparator(options.prefix);
    this.#keys = {
      beats: `${prefix}beats`,
      beat: `${prefix}beat:`,
      channel: `${prefix}events:${server.database}`,
    };
    this.#link = new RedisLink({
      session: {
        server,
        skipKeyspaceEventSetup: options.skipKeyspaceEventSetup ?? false,
        channel: this.#keys.channel,
        patience: this.#timing.patience,
        clock,
        steady: this.#steady,
        onMessage: (text) => this.#onMessage(text),
        expiring: this.#keys.beat,
        onExpiredKey: (key) => this.#onExpiredKey(key),
        onWarning: (error) => this.#warn(error),
      },
      clock,
      backOff: this.#timing.backOff,
      onConnected: () => this.#onConnected(),
      onState: (state) => this.#onState(state),
    });
    const { signal } = this.#closing;
    this.#writing = new Errand({ run: () => this.#write(), apart: this.#timing.writeEvery, clock, signal });
    this.#telling = new Errand({ run: () => this.#send(), apart: 0, clock, signal });
    this.#looking = new Errand({ run: () => this.#look(), apart: this.#timing.lookEvery, clock, signal });
  }

  /**
   * Resolves after the first try to reach Redis, whether it answered or not: without Redis it works for this process
   * alone and goes on trying. Throws OrchestratorError when only a change of the configuration can help.
   */
  static async open(options: RedisOrchestratorOptions): Promise<RedisOrchestrator> {
    const orchestrator = new RedisOrchestrator(options);
    const failure = await orchestrator.#link.start();
    if (failure !== undefined && needsConfiguration(failure)) {
      await orchestrator.close();
      throw failure;
    }
    orchestrator.#looking.wake();
    return orchestrator;
  }

  get connected(): boolean {
    return this.#link.session !== undefined;
  }

  async beat(attemptId: AttemptId, ttl: number): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#book.hear(attemptId, ttl, this.#steady());
    this.#toDelete.delete(attemptId);
    this.#writing.wake();
  }

  async lastBeat(attemptId: AttemptId): Promise<number | undefined> {
    if (this.#closing.signal.aborted) return undefined;
    const fresh = this.#book.get(attemptId);
    const asked = this.#steady();
    if (fresh === undefined || asked - fresh.at > fresh.ttl / 2) await this.#ask(attemptId);
    const now = this.#steady();
    const known = this.#book.get(attemptId)?.at;
    const since = this.#silenceCountsSince(now);
    const last = since === undefined ? known : Math.max(known ?? since, since);
    return last === undefined ? undefined : Math.round(this.#options.clock.now() - (now - last));
  }

  async forget(attemptId: AttemptId): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#book.end(attemptId, this.#steady());
    this.#toDelete.add(attemptId);
    this.#forgotten.push(attemptId);
    this.#bound(this.#forgotten);
    this.#writing.wake();
    this.#telling.wake();
  }

  async publish(event: OrchestratorEvent): Promise<void> {
    if (this.#closing.signal.aborted) return;
    if (event.kind !== 'log' || !this.#toldLogs.has(event.buildId)) {
      if (this.#toldLogs.size === waitingEvents) this.#toldLogs.clear();
      if (event.kind === 'log') this.#toldLogs.add(event.buildId);
      this.#events.push(event);
      this.#bound(this.#events);
    }
    this.#telling.wake();
    this.#tell(event);
  }

  subscribe(listen: (event: OrchestratorEvent) => void): () => void {
    const own = (event: OrchestratorEvent) => listen(event);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Sends what waits, for a moment, and closes both connections. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#listeners.clear();
    this.#closing.abort();
    await Promise.all([this.#writing.idle(), this.#telling.idle(), this.#looking.idle()]);
    if (this.#link.session !== undefined) {
      await Promise.allSettled([this.#write(), this.#send()]);
    }
    await this.#link.close();
  }

  #bound(waiting: unknown[]): void {
    if (waiting.length > waitingEvents) waiting.splice(0, waiting.length - waitingEvents);
  }

  /** Since when silence proves anything; undefined: it always did. */
  #silenceCountsSince(now: number): number | undefined {
    if (this.#link.session === undefined) return now;
    const since = this.#hearsSince;
    if (since === undefined || now - since > Math.max(this.#book.longestTtl, graceUnknown)) return undefined;
    return since;
  }

  #onConnected(): void {
    if (this.#mayHaveMissed) this.#hearsSince = this.#steady();
    this.#lastScan = Number.NEGATIVE_INFINITY;
    this.#book.unwritten();
    this.#writing.wake();
    this.#telling.wake();
    this.#looking.wake();
  }

  #onState(state: RedisState): void {
    if (state.kind === 'disconnected') this.#mayHaveMissed = true;
    this.#guard(() => this.#options.onState?.(state));
  }

  #warn(error: OrchestratorError): void {
    this.#guard(() => this.#options.onWarning?.(error));
  }

  /** What is called back is another's; its errors must not stop what is under way here. */
  #guard(call: () => void): void {
    try {
      call();
    } catch {
      // Who was told is who would be told of this.
    }
  }

  #tell(event: OrchestratorEvent): void {
    for (const listen of [...this.#listeners]) {
      try {
        listen(event);
      } catch (thrown) {
        this.#warn(
          new OrchestratorError(
            'listener',
            `A listener of the orchestrator failed: ${messageOf(thrown)}`,
            thrown,
          ),
        );
      }
    }
  }

  #onMessage(text: string): void {
    const message = parseMessage(text);
    if (message === undefined || message.from === this.#name || this.#closing.signal.aborted) return;
    for (const attemptId of message.forgotten) this.#book.end(attemptId, this.#steady());
    for (const event of message.events) this.#tell(event);
  }

  /** Redis says that an attempt's key is gone. Whoever knows of a later beat does not believe it. */
  #onExpiredKey(key: string): void {
    if (!key.startsWith(this.#keys.beat) || this.#closing.signal.aborted) return;
    const attemptId = parseAttemptId(key.slice(this.#keys.beat.length));
    if (attemptId === undefined || this.#book.hasEnded(attemptId)) return;
    const now = this.#steady();
    const known = this.#book.get(attemptId);
    const since = this.#silenceCountsSince(now);
    if (known === undefined) {
      if (since === undefined) this.#expire(attemptId, now);
      return;
    }
    if (Math.max(known.at, since ?? known.at) + known.ttl <= now + slack) {
      this.#expire(attemptId, now);
      return;
    }
    this.#book.unwritten(attemptId);
    this.#writing.wake();
  }

  #expire(attemptId: AttemptId, now: number): void {
    this.#book.end(attemptId, now);
    this.#tell({ kind: 'expired', attemptId });
  }

  /** Writes own beats that are due and deletes what was forgotten. Returns how long the rest may wait. */
  async #write(): Promise<number | undefined> {
    const session = this.#link.session;
    if (session === undefined) return undefined;
    const now = this.#steady();
    const due = this.#book.due(now);
    for (let from = 0; from < due.length; from += portion) {
      const beats = due.slice(from, from + portion);
      await session.sendAll([
        [
          'HSET',
          this.#keys.beats,
          ...beats.flatMap(({ attemptId, at, ttl }) => [attemptId, `${session.toRedis(at)}:${ttl}`]),
        ],
        ['PEXPIRE', this.#keys.beats, `${Math.max(keptFor, 2 * this.#book.longestTtl)}`],
        ...beats
          .filter(({ key }) => key)
          .map(({ attemptId, at, ttl }) => {
            const left = Math.max(1, Math.ceil(at + ttl - now));
            return ['SET', this.#keys.beat + attemptId, '', 'PX', `${left}`];
          }),
      ]);
      this.#book.written(beats, now);
    }
    for (let some = [...this.#toDelete]; some.length > 0; some = [...this.#toDelete]) {
      const attempts = some.slice(0, portion);
      await session.sendAll([
        ['HDEL', this.#keys.beats, ...attempts],
        ['DEL', ...attempts.map((attemptId) => this.#keys.beat + attemptId)],
      ]);
      for (const attemptId of attempts) this.#toDelete.delete(attemptId);
    }
    const next = this.#book.nextDue(now);
    return next === undefined ? undefined : Math.max(0, next - this.#steady());
  }

  /** Sends events and what was forgotten, all that waits in one message. */
  async #send(): Promise<undefined> {
    const session = this.#link.session;
    if (session === undefined || this.#events.length + this.#forgotten.length === 0) return;
    const [events, forgotten] = [this.#events, this.#forgotten];
    this.#events = [];
    this.#forgotten = [];
    this.#toldLogs.clear();
    try {
      await session.send([
        'PUBLISH',
        this.#keys.channel,
        formatMessage({ from: this.#name, events, forgotten }),
      ]);
    } catch {
      // For the next session. What arrived after all is heard twice, and a hint may be.
      this.#events = [...events, ...this.#events].slice(-waitingEvents);
      this.#forgotten = [...forgotten, ...this.#forgotten].slice(-waitingEvents);
    }
  }

  /** Reads what others wrote, and tells whose time is up. */
  async #look(): Promise<number> {
    const { lookEvery, scanEvery } = this.#timing;
    const session = this.#link.session;
    if (session === undefined) return lookEvery;
    if (this.#steady() - this.#lastScan >= scanEvery) {
      await session.check();
      await this.#scan(session);
      this.#lastScan = this.#steady();
    }
    const since = this.#silenceCountsSince(this.#steady()) ?? Number.NEGATIVE_INFINITY;
    const late = this.#book.overdue(this.#steady(), since);
    if (late.length > 0) {
      // Another manager may have heard them since.
      await this.#read(session, late);
      if (this.#link.session !== session) return lookEvery;
      const now = this.#steady();
      const still = new Set(this.#book.overdue(now, since));
      for (const attemptId of late) if (still.has(attemptId)) this.#expire(attemptId, now);
    }
    return lookEvery;
  }

  async #scan(session: RedisSession): Promise<void> {
    const reply = texts(await session.send(['HGETALL', this.#keys.beats]));
    const stale: string[] = [];
    const now = this.#steady();
    for (let at = 0; at + 1 < reply.length; at += 2) {
      const [field = '', value = ''] = reply.slice(at, at + 2);
      const beat = readBeat(value, session);
      const attemptId = parseAttemptId(field);
      if (attemptId === undefined || beat === undefined || beat.at + beat.ttl + keptFor < now) {
        stale.push(field);
      } else if (beat.at + beat.ttl > now) {
        // What was over before this process saw it alive is told by those who did.
        this.#learn(attemptId, beat, now);
      }
    }
    if (stale.length > 0) await session.send(['HDEL', this.#keys.beats, ...stale.slice(0, portion)]);
  }

  async #read(session: RedisSession, attempts: readonly AttemptId[]): Promise<void> {
    for (let from = 0; from < attempts.length; from += portion) {
      const some = attempts.slice(from, from + portion);
      const values = texts(await session.send(['HMGET', this.#keys.beats, ...some]));
      for (const [index, attemptId] of some.entries()) {
        const beat = readBeat(values[index] ?? '', session);
        if (beat !== undefined) this.#learn(attemptId, beat, this.#steady());
      }
    }
  }

  /** A beat that is still to come was written before Redis's clock was set back: who lives writes it anew. */
  #learn(attemptId: AttemptId, { at, ttl }: KnownBeat, now: number): void {
    if (at <= now + unsteadiness) this.#book.learn(attemptId, Math.min(at, now), ttl);
  }

  /** Asks Redis for an attempt, together with all others that are asked for in this turn of the event loop. */
  #ask(attemptId: AttemptId): Promise<void> {
    const session = this.#link.session;
    if (session === undefined || this.#closing.signal.aborted) return Promise.resolve();
    if (this.#asking === undefined) {
      const attempts = new Set<AttemptId>();
      const answer = new Promise((resolve) => setImmediate(resolve)).then(async () => {
        this.#asking = undefined;
        // A failure ends the session, and then silence proves nothing.
        await this.#read(session, [...attempts]).catch(() => {});
      });
      this.#asking = { attempts, answer };
    }
    this.#asking.attempts.add(attemptId);
    return this.#asking.answer;
  }
}

function withSeparator(prefix: string): string {
  return prefix === '' || /[/:]$/.test(prefix) ? prefix : `${prefix}/`;
}

/** A beat as it is written in Redis, on this process's steady clock. */
function readBeat(value: string, session: RedisSession): KnownBeat | undefined {
  const match = /^(\d{1,16}):(\d{1,16})$/.exec(value);
  if (match === null) return undefined;
  return { at: session.fromRedis(Number(match[1])), ttl: Number(match[2]) };
}
