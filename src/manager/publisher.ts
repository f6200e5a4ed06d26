import type { Span } from '@opentelemetry/api';
import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import type { PushedImage } from '../model/attempt.ts';
import type { AttemptView, Build } from '../model/build.ts';
import type { FaultCode } from '../model/fault.ts';
import { type BuildId, parseAttemptId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import type { BuildQueue, PublishedImage } from '../queue/build-queue.ts';
import type { Registry } from '../registry/registry.ts';
import { markFailed } from '../telemetry/tracing.ts';
import { BackgroundTasks } from './background-tasks.ts';
import type { BuildEnd } from './build-end.ts';
import { BuildTraces } from './build-traces.ts';
import { ManagerError, type ManagerErrorCode } from './manager-error.ts';
import type { ManagerLog } from './manager-log.ts';
import type { ManagerMetrics } from './manager-metrics.ts';
import type { ManagerSettings } from './settings.ts';
import { PublicationCancelled, PublicationLost, publishToTarget } from './target-publication.ts';
import type { Targets } from './targets.ts';

export interface PublisherOptions {
  readonly queue: BuildQueue;
  readonly registry: Pick<Registry, 'publish'>;
  readonly end: BuildEnd;
  readonly clock: Clock;
  /** This manager's. */
  readonly name: string;
  /** Absent: everything is published to the embedded registry. */
  readonly targets?: Targets;
  readonly settings: Pick<
    ManagerSettings,
    'publishTries' | 'targetTries' | 'publishBackOff' | 'publishBackOffCap' | 'lease'
  >;
  readonly logger: ManagerLog;
  readonly metrics: Pick<ManagerMetrics, 'publishFailed'>;
}

/**
 * Puts the tags on the image of a build whose jobs are all complete, then makes the build complete. Publishing twice is
 * publishing once: the registry is asked to do the same again, and the queue lets the first one end the build.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #traces: BuildTraces;
  readonly #under = new Set<BuildId>();
  readonly #tasks: BackgroundTasks;
  readonly #stopping = new AbortController();
  /** What fails from then on is left to another manager, or to this one's next life. */
  readonly #leaving = new AbortController();

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#traces = new BuildTraces(options);
    this.#tasks = new BackgroundTasks((thrown) => {
      options.logger.error({ err: thrown }, 'a build could not be published; it is found again by the queue');
    });
  }

  /** Begins to publish, unless it is under way. A build left unpublished is found again by the queue. */
  publish(buildId: BuildId): void {
    if (this.#under.has(buildId) || this.#stopping.signal.aborted) return;
    this.#under.add(buildId);
    this.#tasks.run(() => this.#persistently(buildId).finally(() => this.#under.delete(buildId)));
  }

  /**
   * Again until it is decided: while the database does not answer nothing is known, not even whether the build has ended.
   * The queue would name it again only when the lease is over, and its repository would wait for as long.
   */
  async #persistently(buildId: BuildId): Promise<void> {
    const { settings, clock, logger } = this.#options;
    for (let failed = 0; !this.#stopping.signal.aborted; failed += 1) {
      try {
        await this.#publish(buildId, failed > 0);
        return;
      } catch (thrown) {
        if (this.#leaving.signal.aborted) {
          logger.warn(
            { build: buildId, err: thrown },
            'a build is left unpublished; it is found again by the queue',
          );
          return;
        }
        const pause = backOff(failed, { first: settings.publishBackOff, cap: settings.publishBackOffCap });
        logger.error({ build: buildId, err: thrown }, `a build could not be published; again in ${pause} ms`);
        await clock.sleep(pause, this.#leaving.signal).catch(() => {});
      }
    }
  }

  async #publish(buildId: BuildId, again: boolean): Promise<void> {
    const { queue } = this.#options;
    const build = await queue.build(buildId);
    if (build === undefined || isFinal(build.phase)) return;
    await this.#traces.publishing(build, (span) => this.#publishBuild(build, span, again));
  }

  async #publishBuild(build: Build, span: Span, again: boolean): Promise<void> {
    const { queue, end, logger, name } = this.#options;
    const buildId = build.id;
    const attempts = build.jobs.map((job) => job.attempts.at(-1)).filter((last) => last !== undefined);
    try {
      const image = build.push ? await this.#publishImage(build, attempts, again) : undefined;
      if (image !== undefined) span.setAttribute('oci.manifest.digest', image.digest);
      const published = await queue.publish(buildId, attempts.flatMap(epochOf), image);
      if (published === 'stale') logger.warn({ build: buildId }, 'a build was over before it was published');
      else await end.end(published);
    } catch (thrown) {
      if (thrown instanceof PublicationLost) {
        logger.info({ build: buildId }, 'a build is published by another manager');
        return;
      }
      const failure =
        thrown instanceof PublicationCancelled
          ? new ManagerError('publish-failed', 'The build was cancelled before it was published.', thrown)
          : thrown;
      if (!(failure instanceof ManagerError)) throw thrown;
      markFailed(span, failure.code);
      const fault = { code: faultCodes[failure.code] ?? 'publishissue', message: failure.message };
      const failed = await queue.failPublish(buildId, fault, name);
      if (failed !== 'stale') await end.end(failed);
    }
  }

  async #publishImage(
    build: Build,
    attempts: readonly AttemptView[],
    again: boolean,
  ): Promise<PublishedImage> {
    const images = attempts.flatMap(imageOf);
    const [image] = images;
    if (image === undefined || images.length > 1) {
      throw new ManagerError(
        'publish-failed',
        `The build has ${images.length} images, and exactly one can be published. Build for one platform.`,
      );
    }
    const { targets } = this.#options;
    const elsewhere =
      targets === undefined
        ? undefined
        : await publishToTarget(
            build,
            image,
            { ...this.#options, targets, held: again, leaving: this.#leaving.signal },
            this.#stopping.signal,
          );
    return elsewhere ?? (await this.#putTags(build, image));
  }

  async #putTags(build: Build, image: PushedImage): Promise<PublishedImage> {
    const { registry, settings, clock, logger, name } = this.#options;
    const by = { buildId: build.id, manager: name };
    const repository = formatRepositoryName(build.repository);
    const { signal } = this.#stopping;
    for (let tried = 1; ; tried += 1) {
      try {
        const publication = { repository, digest: image.digest, tags: build.tags };
        if ((await registry.publish(publication, by, signal)) === 'lost') throw new PublicationLost();
        return image;
      } catch (thrown) {
        signal.throwIfAborted();
        if (thrown instanceof PublicationLost) throw thrown;
        this.#options.metrics.publishFailed();
        if (tried >= settings.publishTries) {
          // Which is no failure of the build: another manager tries again. It is not broken off before: what did not answer may
          // have written a tag that a newer build has, and the next try finds that out.
          if (this.#leaving.signal.aborted) throw thrown;
          throw new ManagerError(
            'publish-failed',
            `The image ${image.digest} was pushed to ${repository}, but its tags could not be written after ` +
              `${tried} tries: ${messageOf(thrown)}`,
            thrown,
          );
        }
        logger.warn({ build: build.id, tried, err: thrown }, 'the tags of a build could not be written');
        await clock.sleep(
          backOff(tried - 1, { first: settings.publishBackOff, cap: settings.publishBackOffCap }),
          signal,
        );
      }
    }
  }

  /** Resolves when nothing is being published; what fails now is not tried again. */
  async drain(): Promise<void> {
    this.#leaving.abort();
    await this.#tasks.idle();
  }

  async stop(): Promise<void> {
    this.#leaving.abort();
    this.#stopping.abort();
    await this.#tasks.idle();
  }
}

const faultCodes: Readonly<Partial<Record<ManagerErrorCode, FaultCode>>> = {
  'target-refused': 'registryrefused',
  'target-unreachable': 'registryunreachable',
};

function imageOf({ outcome }: AttemptView): readonly PushedImage[] {
  return outcome?.kind === 'complete' && outcome.image !== undefined ? [outcome.image] : [];
}

function epochOf({ id, epoch }: AttemptView) {
  const attemptId = parseAttemptId(id);
  return attemptId === undefined ? [] : [{ id: attemptId, epoch }];
}
