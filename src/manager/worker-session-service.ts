import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { unreachable } from '../base/unreachable.ts';
import type { HostKeys } from '../host-key/host-keys.ts';
import type { LogRun, LogStore } from '../log/log-store.ts';
import { isRunning, type Outcome, outcomeOfFault, type PushedImage } from '../model/attempt.ts';
import { type Fault, type FaultOwner, ownerOf } from '../model/fault.ts';
import type { HostKey } from '../model/host-key.ts';
import type { AttemptId } from '../model/ids.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { Tag } from '../model/tag.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { BuildQueue, RunningAttempt } from '../queue/build-queue.ts';
import type { Registry } from '../registry/registry.ts';
import type { AttemptEnd } from './attempt-end.ts';
import type { BaseImageCredentials } from './base-image-credentials.ts';
import type { BuildEnd } from './build-end.ts';
import { type BuildSite, buildPack } from './build-pack.ts';
import { ManagerError } from './manager-error.ts';
import { type ManagerMetrics, noExecutor } from './manager-metrics.ts';
import { outcomeOfCompletion } from './pushed-image.ts';
import type { RegistryCredentials } from './registry-credentials.ts';
import type { ManagerSettings } from './settings.ts';
import type { SourceLinks } from './source-links.ts';
import { WorkerSession } from './worker-session.ts';
import {
  type BuildPack,
  JobUnstartable,
  type Refusal,
  type StageReport,
  type Unspeakable,
  type WorkerCapabilities,
  type WorkerIdentity,
  WorkerRefused,
  type WorkerSessions,
} from './worker-sessions.ts';
import type { WorkerTrials } from './worker-trials.ts';

export interface WorkerSessionServiceOptions {
  readonly queue: BuildQueue;
  readonly log: LogStore;
  readonly orchestrator: Orchestrator;
  readonly registry: Registry;
  /** The tag whose layers a build may reuse; empty when there is none. */
  readonly cachedTag: (
    request: { readonly repository: RepositoryName; readonly requested: readonly Tag[] },
    signal: AbortSignal,
  ) => Promise<string>;
  readonly attemptEnd: AttemptEnd;
  readonly buildEnd: BuildEnd;
  readonly links: SourceLinks;
  readonly credentials: RegistryCredentials;
  /** How the tokens begin that workers register and call with. */
  readonly tokenOpenings: readonly Uint8Array[];
  readonly baseImages?: BaseImageCredentials;
  readonly hostKeys: Pick<HostKeys, 'known' | 'record'>;
  readonly site: BuildSite;
  readonly trials?: Pick<WorkerTrials, 'register'>;
  readonly clock: Clock;
  readonly settings: ManagerSettings;
  readonly metrics: ManagerMetrics;
}

const rememberedSessions = 10_000;
const firstRegistration = 1;
/** A registry token may be used a little longer than the attempt may take; the gateway's fence is what ends it. */
const credentialLeeway = 300_000;

/**
 * Serves workers. Any manager serves any worker: what decides is in the queue, and this process only remembers what
 * makes a repeated call cheap (see worker-session.ts).
 */
export class WorkerSessionService implements WorkerSessions {
  readonly #options: WorkerSessionServiceOptions;
  readonly #sessions = new Map<AttemptId, WorkerSession>();
  readonly #stopping = new AbortController();
  readonly #unsubscribe: () => void;

  constructor(options: WorkerSessionServiceOptions) {
    this.#options = options;
    this.#unsubscribe = options.orchestrator.subscribe((event) => {
      if (event.kind === 'cancel') this.#sessions.get(event.attemptId)?.cancel();
      // Its manager may not have seen the worker yet.
      if (event.kind === 'unserved') this.#session(event).unserved = true;
    });
  }

  async register(identity: WorkerIdentity, capabilities: WorkerCapabilities | undefined): Promise<BuildPack> {
    try {
      const pack = await this.#register(identity, capabilities);
      this.#session(identity).unserved = false;
      return pack;
    } catch (thrown) {
      // A database that was away for a moment, say. A worker may ask again, or give up at once: then that is our fault.
      if (!(thrown instanceof WorkerRefused) && !(thrown instanceof JobUnstartable))
        await this.#options.orchestrator.publish({ kind: 'unserved', attemptId: identity.attemptId });
      throw thrown;
    }
  }

  async #register(
    identity: WorkerIdentity,
    capabilities: WorkerCapabilities | undefined,
  ): Promise<BuildPack> {
    const { queue, orchestrator, settings, clock, metrics, buildEnd, attemptEnd } = this.#options;
    const attempt = await this.#current(identity);
    const first =
      attempt.state === 'scheduled' &&
      (await queue.register(attempt.id, attempt.epoch, { capabilities: { ...capabilities } }));
    const registration = first ? firstRegistration : await this.#registerAgain(identity);
    await orchestrator.beat(attempt.id, settings.heartbeatTimeout);
    const registered = {
      epoch: identity.epoch,
      ...(capabilities === undefined ? {} : { engine: capabilities.engine }),
    };
    if (first) {
      // A quick worker comes before it is written down where it runs.
      const executor = attempt.executor ?? (await queue.attempt(attempt.id))?.executor;
      metrics.registered(executor ?? noExecutor, {
        took: clock.now() - attempt.scheduledAt,
        waited: attempt.scheduledAt - (attempt.queuedAt ?? attempt.scheduledAt),
      });
    }
    await buildEnd.phase(identity, 'registered', registered);
    try {
      const registered = { ...identity, registration };
      return await this.#pack(registered, attempt, capabilities?.pushesByDigest === true);
    } catch (thrown) {
      if (thrown instanceof WorkerRefused) throw thrown;
      const { fault, owner } = packFault(thrown);
      await attemptEnd.finish(attempt, outcomeOfFault(fault, owner));
      throw new JobUnstartable(fault.message, { cause: thrown });
    }
  }

  /**
   * A registration may be repeated while nothing shows that its answer arrived: the server may have died, or the
   * connection broken, after it was written down. Whoever asks holds the attempt's one registration token. Should there
   * be two of them, `#heard` lets one go on.
   */
  async #registerAgain(identity: WorkerIdentity): Promise<number> {
    const registration = await this.#options.queue.registerAgain(identity.attemptId, identity.epoch);
    return registration ?? Promise.reject(await this.#refusal(identity, 'already-registered'));
  }

  async #pack(identity: WorkerIdentity, attempt: RunningAttempt, byDigest: boolean): Promise<BuildPack> {
    const { queue, settings } = this.#options;
    const build = await queue.build(identity.buildId);
    if (build === undefined) throw this.#refuse('unknown-attempt');
    return await buildPack(
      {
        identity,
        build,
        platform: attempt.platform,
        byDigest,
        expiresAt: attempt.scheduledAt + settings.machineMaxTime + credentialLeeway,
        maxSeconds: Math.round(settings.machineMaxTime / 1000),
      },
      this.#options,
    );
  }

  async heartbeat(identity: WorkerIdentity): Promise<{ readonly alive: boolean; readonly cancel: boolean }> {
    const session = await this.#heard(identity);
    if (session.ended) return { alive: false, cancel: false };
    let wanted: RunningAttempt['desired'] = 'run';
    try {
      wanted = (await this.#current(identity)).desired;
    } catch (thrown) {
      // It is over by this worker's own report, which is not answered yet: that answer is what it waits for.
      if (!(thrown instanceof WorkerRefused) || !session.concluding) throw thrown;
    }
    await this.#options.orchestrator.beat(identity.attemptId, this.#options.settings.heartbeatTimeout);
    return { alive: true, cancel: session.cancelled || wanted === 'cancel' };
  }

  async setPhase(identity: WorkerIdentity, sequence: number, report: StageReport): Promise<boolean> {
    const session = await this.#heard(identity);
    return await session.answer(sequence, () => this.#take(identity, session, sequence, report));
  }

  async #take(
    identity: WorkerIdentity,
    session: WorkerSession,
    sequence: number,
    report: StageReport,
  ): Promise<boolean> {
    switch (report.kind) {
      case 'stage':
        return await this.#enterStage(identity, sequence, report);
      case 'complete':
        return await this.#end(identity, session, { kind: report.kind, sequence }, (attempt) =>
          this.#completed(attempt, report.image),
        );
      case 'error':
        return await this.#end(identity, session, { kind: report.kind, sequence }, async () => {
          const fault: Fault = report.fault ?? {
            code: 'builderror',
            message: 'The build failed. The end of its log says why.',
          };
          return outcomeOfFault(fault, report.owner ?? ownerOf(fault.code));
        });
      default:
        return unreachable(report);
    }
  }

  /** A stage behind the one that is known is answered success and ignored: its answer was lost, or it came late. */
  async #enterStage(
    identity: WorkerIdentity,
    sequence: number,
    { stage, commit, pullMetadata, gitHostKeys }: Extract<StageReport, { kind: 'stage' }>,
  ): Promise<boolean> {
    const { queue, buildEnd } = this.#options;
    const detail = commit === undefined ? {} : { commit };
    const verdict = await queue.enterStage(identity.attemptId, identity.epoch, stage, {
      ...detail,
      sequence,
    });
    if (verdict === 'stale') throw await this.#refusal(identity);
    // Later on the build's own steps run, and nothing that they might have got hold of is to be believed.
    if (gitHostKeys !== undefined && stage === 'unpacking' && verdict !== 'late')
      await this.#recordHostKeys(identity, gitHostKeys);
    const session = this.#session(identity);
    const data = { ...pullMetadata, ...detail };
    // The same, and not seen by this process before: another one took it, or this one failed to write it down.
    if (verdict === 'moved' || (verdict === 'same' && session.stage !== stage))
      await buildEnd.phase(identity, stage, data);
    if (verdict !== 'late') session.stage = stage;
    return true;
  }

  async #recordHostKeys({ buildId }: WorkerIdentity, keys: readonly HostKey[]): Promise<void> {
    const build = await this.#options.queue.build(buildId);
    if (build?.source.kind !== 'git') return;
    await this.#options.hostKeys.record(keys, { buildId, namespace: build.repository.namespace });
  }

  async #end(
    identity: WorkerIdentity,
    session: WorkerSession,
    { kind, sequence }: { readonly kind: 'complete' | 'error'; readonly sequence: number },
    judge: (attempt: RunningAttempt) => Promise<Outcome>,
  ): Promise<boolean> {
    const attempt = await this.#known(identity);
    // The answer to that was lost, perhaps with the manager that was to give it. What was judged of it does not matter.
    if (attempt.state === 'done' && Object.values(attempt.reports ?? {}).includes(kind)) return true;
    if (!isRunning(attempt.state)) throw this.#refuse('attempt-over');
    // Another process took a stage under this number.
    if (attempt.reports?.[sequence] !== undefined) return true;
    session.reporting = true;
    try {
      const outcome = await judge(attempt);
      // A person's wish counts until the tags are published, and it may have come while the registry was asked.
      const { desired, cancelledBy } = await this.#current(identity);
      const settled: Outcome =
        desired === 'cancel' ? { kind: 'cancelled', by: cancelledBy ?? 'slipway' } : outcome;
      session.concluding = true;
      const report = { sequence, kind };
      const finished = await this.#options.attemptEnd.finish(attempt, settled, { report });
      if (finished === 'stale') throw await this.#refusal(identity);
      session.ended = true;
      return true;
    } finally {
      session.reporting = false;
      session.concluding = false;
    }
  }

  async #completed(attempt: RunningAttempt, image: PushedImage | undefined): Promise<Outcome> {
    const build = await this.#options.queue.build(attempt.buildId);
    if (build === undefined) throw this.#refuse('unknown-attempt');
    const byDigest = attempt.capabilities?.pushesByDigest === true;
    return await outcomeOfCompletion(build, image, byDigest, this.#options, this.#stopping.signal);
  }

  async log(identity: WorkerIdentity, sequence: number, runs: readonly LogRun[]) {
    const { buildId, attemptId, epoch } = identity;
    await this.#heard(identity);
    const verdict = await this.#options.log.append(
      buildId,
      { kind: 'worker', attemptId, epoch, sequence },
      runs,
    );
    switch (verdict.kind) {
      case 'stored':
        this.#options.metrics.logReceived(runs.reduce((sum, { text }) => sum + text.byteLength, 0));
        return { kind: 'stored' as const };
      case 'repeated':
      case 'gap':
        return verdict;
      case 'stale':
        throw await this.#refusal(identity);
      default:
        return unreachable(verdict);
    }
  }

  async cachedTag(identity: WorkerIdentity): Promise<string> {
    await this.#heard(identity);
    await this.#current(identity);
    const build = await this.#options.queue.build(identity.buildId);
    if (build === undefined) throw this.#refuse('unknown-attempt');
    return await this.#options.cachedTag(
      { repository: build.repository, requested: build.tags },
      this.#stopping.signal,
    );
  }

  async secrets(identity: WorkerIdentity): Promise<Unspeakable> {
    return await this.unspeakable(await this.#current(identity));
  }

  /** The same of an attempt that may be over. For the manager. */
  async unspeakable({
    id,
    epoch,
    buildId,
    repository,
  }: Pick<RunningAttempt, 'id' | 'epoch' | 'buildId' | 'repository'>): Promise<Unspeakable> {
    const { queue, credentials, baseImages, tokenOpenings } = this.#options;
    // What opens the git repository is among them.
    const [secrets, registries] = await Promise.all([
      queue.secrets(buildId),
      baseImages?.ofNamespace(repository.namespace) ?? [],
    ]);
    return {
      secrets: [
        ...secrets.map(({ value }) => value),
        ...registries.map(({ password }) => Buffer.from(password)),
      ],
      // Another manager may have made the tokens and signed the link, so they are known by how they begin.
      openings: [...tokenOpenings, ...credentials.openings, Buffer.from(`/${id}/${epoch}?`)],
    };
  }

  onCancel(identity: WorkerIdentity, tell: () => void): () => void {
    return this.#session(identity).onCancel(tell);
  }

  /** Whether this process is looking into the attempt's last report. For the manager. */
  isReporting(attemptId: AttemptId): boolean {
    return this.#sessions.get(attemptId)?.reporting === true;
  }

  /** Whether the attempt's worker asked for its build in vain, as far as is known here. For the manager. */
  isUnserved(attemptId: AttemptId): boolean {
    return this.#sessions.get(attemptId)?.unserved === true;
  }

  async #current(identity: WorkerIdentity): Promise<RunningAttempt> {
    const attempt = await this.#known(identity);
    if (!isRunning(attempt.state)) throw this.#refuse('attempt-over');
    return attempt;
  }

  /** The attempt that a worker speaks of, when build, attempt and epoch belong together. */
  async #known(identity: WorkerIdentity): Promise<RunningAttempt> {
    const { queue, trials } = this.#options;
    const attempt = await queue.attempt(identity.attemptId);
    // Every worker understands that there is nothing for it to do any more.
    if (attempt === undefined && (await trials?.register(identity.attemptId)) === true)
      throw new WorkerRefused(
        'attempt-over',
        'This only tried out whether workers can be started. All is well.',
      );
    if (attempt?.buildId !== identity.buildId || attempt.jobId !== identity.jobId)
      throw this.#refuse('unknown-attempt');
    if (attempt.epoch !== identity.epoch) throw this.#refuse('stale-epoch');
    this.#session(identity).proven = identity;
    return attempt;
  }

  /** What is remembered of a worker is for none that says something else of its attempt. Looked up once. */
  async #provenSession(identity: WorkerIdentity): Promise<WorkerSession> {
    const { proven } = this.#session(identity);
    const same =
      proven?.buildId === identity.buildId &&
      proven.jobId === identity.jobId &&
      proven.epoch === identity.epoch;
    if (!same) await this.#known(identity);
    return this.#session(identity);
  }

  /**
   * The session of a worker that has used its job token, so it has its build pack: from now on no manager takes another
   * registration. Of two workers with answers to registrations the first to be heard goes on, and the other is refused.
   * The queue is asked once; that it says nothing means that the attempt is over, which the call itself finds out.
   */
  async #heard(identity: WorkerIdentity): Promise<WorkerSession> {
    const session = await this.#provenSession(identity);
    const own = identity.registration ?? firstRegistration;
    session.heard ??= await this.#options.queue.hear(identity.attemptId, identity.epoch, own);
    if (session.heard !== undefined && session.heard !== own) throw this.#refuse('already-registered');
    return session;
  }

  /** Why the queue said that a worker is not current; `otherwise` when it is by now. */
  async #refusal(identity: WorkerIdentity, otherwise: Refusal = 'attempt-over'): Promise<WorkerRefused> {
    try {
      await this.#current(identity);
      return this.#refuse(otherwise);
    } catch (thrown) {
      if (thrown instanceof WorkerRefused) return thrown;
      throw thrown;
    }
  }

  #refuse(refusal: Refusal): WorkerRefused {
    this.#options.metrics.refused(refusal);
    return new WorkerRefused(refusal, refusals[refusal]);
  }

  #session({ attemptId }: Pick<WorkerIdentity, 'attemptId'>): WorkerSession {
    const known = this.#sessions.get(attemptId);
    if (known !== undefined) return known;
    const session = new WorkerSession();
    this.#sessions.set(attemptId, session);
    if (this.#sessions.size > rememberedSessions) {
      const idle = [...this.#sessions].find(([, { listened, reporting }]) => !listened && !reporting);
      if (idle !== undefined) this.#sessions.delete(idle[0]);
    }
    return session;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#unsubscribe();
  }
}

/** The try is given back for what failed in Slipway; of that people are told nothing that could name hosts or files. */
function packFault(thrown: unknown): { readonly fault: Fault; readonly owner: FaultOwner } {
  if (thrown instanceof ManagerError) {
    const message = `The build could not be handed to a worker: ${messageOf(thrown)}`;
    return { fault: { code: 'sourcemissing', message }, owner: 'infrastructure' };
  }
  const message =
    'The build could not be handed to a worker: something in Slipway failed. It is tried again; if this goes on, see the log of the build manager.';
  return { fault: { code: 'internalerror', message }, owner: ownerOf('internalerror') };
}

const refusals: Readonly<Record<Refusal, string>> = {
  'stale-epoch': 'another attempt has taken the place of this one',
  'attempt-over': 'the attempt is over',
  'already-registered': 'a worker has registered with this token already',
  'unknown-attempt': 'there is no such attempt',
};
