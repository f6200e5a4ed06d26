import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import type { PushedImage } from '../model/attempt.ts';
import type { Build } from '../model/build.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import type { Tag } from '../model/tag.ts';
import type { BuildQueue, PublishedImage } from '../queue/build-queue.ts';
import { ManagerError } from './manager-error.ts';
import type { ManagerLog } from './manager-log.ts';
import type { ManagerMetrics } from './manager-metrics.ts';
import type { ManagerSettings } from './settings.ts';
import type { TargetPublication, Targets } from './targets.ts';

export interface TargetPublicationOptions {
  readonly queue: Pick<BuildQueue, 'holdPublication'>;
  readonly targets: Targets;
  /** This manager's name. */
  readonly name: string;
  readonly clock: Clock;
  readonly settings: Pick<ManagerSettings, 'targetTries' | 'publishBackOff' | 'publishBackOffCap' | 'lease'>;
  readonly logger: ManagerLog;
  readonly metrics: Pick<ManagerMetrics, 'publishFailed'>;
  /** This manager tried before: where another one publishes by now, it takes nothing back. */
  readonly held: boolean;
  /** Fires when this manager leaves: what fails then is not tried again here. The reason is thrown. */
  readonly leaving: AbortSignal;
}

/** Another manager has the build, or it is over: nothing more is to be done for it here. */
export class PublicationLost extends Error {}

/** No tag is written yet, and none is wanted any more. */
export class PublicationCancelled extends Error {}

/**
 * Publishes an image to the registry that its repository names; undefined when it names none. What is written there can
 * be fenced by nobody but us, so before each step the queue is asked whether this manager still has the build. Throws
 * ManagerError when it is to fail, PublicationLost when it is not ours any more, PublicationCancelled.
 */
export async function publishToTarget(
  build: Build,
  image: PushedImage,
  { queue, targets, name, clock, settings, logger, metrics, held: before, leaving }: TargetPublicationOptions,
  signal: AbortSignal,
): Promise<PublishedImage | undefined> {
  let held = before;
  const still = async (written: readonly Tag[]): Promise<void> => {
    const options = { lease: settings.lease, takes: !held };
    const verdict = await queue.holdPublication(build.id, name, options);
    if (verdict === 'lost') throw new PublicationLost();
    held = true;
    if (verdict === 'cancel' && written.length === 0) throw new PublicationCancelled();
  };
  const publication = {
    repository: formatRepositoryName(build.repository),
    digest: image.digest,
    tags: build.tags,
  };
  for (let tried = 1; ; tried += 1) {
    const result = await targets.publish(build.repository, publication, still, signal);
    if (result === undefined) return undefined;
    if (result.kind === 'published') return { ...image, references: result.references };
    metrics.publishFailed();
    if (result.kind === 'refused' || tried >= settings.targetTries) {
      // Who lost it meanwhile has no say in how it ends.
      await still(result.written);
      throw failure(build, result, tried);
    }
    logger.warn(
      { build: build.id, tried, reason: result.message },
      'a build could not be published to the registry of its repository; it is tried again',
    );
    await clock.sleep(
      backOff(tried - 1, { first: settings.publishBackOff, cap: settings.publishBackOffCap }),
      leaving,
    );
  }
}

function failure(
  { tags }: Build,
  { kind, message, written }: Exclude<TargetPublication, { kind: 'published' }>,
  tried: number,
): ManagerError {
  const left = tags.filter((tag) => !written.includes(tag));
  const partly =
    written.length === 0 ? '' : ` ${subject(written)} for the new image already, ${left.join(', ')} not.`;
  return kind === 'refused'
    ? new ManagerError('target-refused', `${message}${partly}`)
    : new ManagerError(
        'target-unreachable',
        `The image was built, but could not be published in ${tried} tries. ${message}${partly}`,
      );
}

function subject(tags: readonly Tag[]): string {
  return tags.length === 1 ? `The tag ${tags[0]} stands` : `The tags ${tags.join(', ')} stand`;
}
