import type { LogRun } from '../../src/log/log-store.ts';
import {
  type BuildPack,
  type StageReport,
  type Unspeakable,
  type WorkerCapabilities,
  type WorkerIdentity,
  WorkerRefused,
  type WorkerSessions,
} from '../../src/manager/worker-sessions.ts';
import { newAttemptId, newBuildId, newJobId } from '../../src/model/ids.ts';

/** One attempt, as a test sees it. */
export interface MemoryAttempt {
  readonly identity: WorkerIdentity;
  readonly pack: BuildPack;
  capabilities: WorkerCapabilities | undefined | 'not registered';
  readonly reports: StageReport[];
  readonly log: LogRun[];
  heartbeats: number;
  lastSequence: number;
  cancelled: boolean;
  /** False: the attempt is answered as not the worker's. */
  alive: boolean;
  over: boolean;
}

/** Worker sessions that keep the rules of the interface in memory, for one process and without time limits. */
export class MemorySessions implements WorkerSessions {
  readonly #attempts = new Map<string, MemoryAttempt>();
  readonly #cancels = new Map<string, Set<() => void>>();
  readonly #changed = new Set<() => void>();
  /** Waits before each batch is stored, to make a slow store. */
  beforeLog: () => Promise<void> = async () => {};
  registerFailure: Error | undefined;

  add(pack: Partial<Omit<BuildPack, 'identity'>> = {}): MemoryAttempt {
    const identity = { buildId: newBuildId(), jobId: newJobId(), attemptId: newAttemptId(), epoch: 1 };
    const attempt: MemoryAttempt = {
      identity,
      pack: { ...emptyPack, ...pack, identity },
      capabilities: 'not registered',
      reports: [],
      log: [],
      heartbeats: 0,
      lastSequence: 0,
      cancelled: false,
      alive: true,
      over: false,
    };
    this.#attempts.set(identity.attemptId, attempt);
    return attempt;
  }

  cancel(attempt: MemoryAttempt): void {
    attempt.cancelled = true;
    for (const tell of this.#cancels.get(attempt.identity.attemptId) ?? []) tell();
  }

  /** Resolves when `condition` holds; checked after every call of a worker. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#changed.delete(wake);
          resolve();
        };
        this.#changed.add(wake);
      });
    }
  }

  async register(identity: WorkerIdentity, capabilities: WorkerCapabilities | undefined): Promise<BuildPack> {
    const attempt = this.#find(identity);
    if (this.registerFailure !== undefined) throw this.registerFailure;
    if (attempt.capabilities !== 'not registered') {
      throw new WorkerRefused('already-registered', 'the attempt is registered already');
    }
    attempt.capabilities = capabilities;
    this.#tell();
    return attempt.pack;
  }

  async heartbeat(identity: WorkerIdentity): Promise<{ alive: boolean; cancel: boolean }> {
    const attempt = this.#find(identity);
    attempt.heartbeats++;
    this.#tell();
    return { alive: attempt.alive, cancel: attempt.cancelled };
  }

  async setPhase(identity: WorkerIdentity, sequence: number, report: StageReport): Promise<boolean> {
    const attempt = this.#find(identity);
    if (sequence === attempt.reports.length + 1) attempt.reports.push(report);
    if (report.kind !== 'stage') attempt.over = true;
    this.#tell();
    return true;
  }

  async log(identity: WorkerIdentity, sequence: number, runs: readonly LogRun[]) {
    const attempt = this.#find(identity);
    await this.beforeLog();
    if (sequence <= attempt.lastSequence) return { kind: 'repeated' } as const;
    if (sequence > attempt.lastSequence + 1)
      return { kind: 'gap', expected: attempt.lastSequence + 1 } as const;
    attempt.lastSequence = sequence;
    attempt.log.push(...runs);
    this.#tell();
    return { kind: 'stored' } as const;
  }

  async cachedTag(identity: WorkerIdentity): Promise<string> {
    return this.#find(identity).pack.tags[0] ?? '';
  }

  async secrets(identity: WorkerIdentity): Promise<Unspeakable> {
    const { pack } = this.#find(identity);
    const texts = [pack.pushToken, pack.pullToken, pack.baseImage?.password ?? ''];
    return {
      secrets: [...texts.map((text) => Buffer.from(text)), ...pack.secrets.map(({ value }) => value)],
      openings: [],
    };
  }

  onCancel(identity: WorkerIdentity, tell: () => void): () => void {
    const listeners = this.#cancels.get(identity.attemptId) ?? new Set();
    this.#cancels.set(identity.attemptId, listeners);
    listeners.add(tell);
    if (this.#find(identity).cancelled) tell();
    return () => listeners.delete(tell);
  }

  #find(identity: WorkerIdentity): MemoryAttempt {
    const attempt = this.#attempts.get(identity.attemptId);
    if (attempt === undefined) throw new WorkerRefused('unknown-attempt', 'there is no such attempt');
    if (attempt.identity.epoch !== identity.epoch) {
      throw new WorkerRefused('stale-epoch', 'the attempt was given to another worker');
    }
    if (attempt.over) throw new WorkerRefused('attempt-over', 'the attempt is over');
    return attempt;
  }

  #tell(): void {
    for (const wake of [...this.#changed]) wake();
  }
}

const emptyPack: Omit<BuildPack, 'identity'> = {
  source: { kind: 'package', url: 'http://127.0.0.1:9/package', ours: true },
  context: '/',
  dockerfilePath: 'Dockerfile',
  repository: 'team/app',
  registry: '127.0.0.1:5000',
  registryInsecure: true,
  registryCredentials: [],
  pullToken: 'the-pull-token',
  pushToken: 'the-push-token',
  tags: ['latest'],
  buildArgs: {},
  secrets: [],
  labels: {},
  platform: '',
  noCache: false,
  push: true,
  maxSeconds: 7200,
  maxSourceBytes: 0,
  allowedPrivateHosts: [],
  gitHostKeys: [],
};

/** The entries of a log as they read: lines end with "\n", pieces of longer lines do not. */
export function logText(attempt: MemoryAttempt): string {
  return attempt.log
    .map(({ text, partial }) => Buffer.from(text).toString('latin1') + (partial === true ? '' : '\n'))
    .join('');
}
