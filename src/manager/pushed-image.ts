import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { type Outcome, outcomeOfFault, type PushedImage } from '../model/attempt.ts';
import type { Build } from '../model/build.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import type { Registry } from '../registry/registry.ts';
import type { ManagerSettings } from './settings.ts';

export interface PushedImageOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly settings: Pick<ManagerSettings, 'publishTries' | 'publishBackOff' | 'publishBackOffCap'>;
}

/**
 * The outcome of an attempt whose worker says that it is complete. A digest counts only once the registry serves it; a
 * worker that reports none pushed its tags itself, and what its first tag stands for is what it pushed.
 */
export async function outcomeOfCompletion(
  build: Build,
  reported: PushedImage | undefined,
  byDigest: boolean,
  { registry, clock, settings }: PushedImageOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  if (!build.push) return { kind: 'complete' };
  const repository = formatRepositoryName(build.repository);
  if (reported === undefined && byDigest) {
    return failed('The worker said it is complete, but not what it pushed. Update the worker.');
  }
  for (let tried = 1; ; tried += 1) {
    try {
      const [tag] = build.tags;
      const digest =
        reported?.digest ??
        (tag === undefined ? undefined : await registry.digestOf(repository, tag, signal));
      if (digest === undefined) {
        return failed(`The worker said it is complete, but ${repository} has no tag ${tag ?? ''}.`);
      }
      const { bytes } = await registry.imageSize(repository, digest, signal);
      return { kind: 'complete', image: { digest, size: bytes } };
    } catch (thrown) {
      signal.throwIfAborted();
      if (tried >= settings.publishTries) {
        return failed(
          `The worker said it pushed ${reported?.digest ?? 'its tags'} to ${repository}, but the registry could ` +
            `not confirm it in ${tried} tries: ${messageOf(thrown)}`,
        );
      }
      const wait = backOff(tried - 1, { first: settings.publishBackOff, cap: settings.publishBackOffCap });
      await clock.sleep(wait, signal);
    }
  }
}

function failed(message: string): Outcome {
  return outcomeOfFault({ code: 'pushissue', message }, 'infrastructure');
}
