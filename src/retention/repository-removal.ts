import type { Clock } from '../base/clock.ts';
import { formatRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import type { Retention } from './retention.ts';

/** The images of repositories in a registry of our own. */
export interface RepositoryImages {
  /** Whether some are known of. Asks the database only. */
  areKnown(repository: string): Promise<boolean>;
  /** Removes some of a repository's. False: there was nothing left. */
  step(repository: string, signal: AbortSignal): Promise<boolean>;
}

export interface RepositoryRemovalOptions {
  readonly retention: Pick<Retention, 'removeBuildsOf' | 'holdsBuildsOf'>;
  /** Undefined: there is no registry of our own. */
  readonly images: RepositoryImages | undefined;
  readonly clock: Clock;
  /** Milliseconds that one call goes on; 15,000 unless given. */
  readonly patience?: number;
}

/**
 * - removed: nothing is left
 * - more: something is left for another call
 * - held: a build waits or runs, or its end is still at work
 */
export type Removed = 'removed' | 'more' | 'held';

/**
 * Removes what a repository leaves behind: whoever takes a name that was freed must not get what belonged to who had it
 * before. Builds go first, since workers cannot push any more without them. May be repeated, and interrupted, anywhere.
 */
export class RepositoryRemoval {
  readonly #options: RepositoryRemovalOptions;

  constructor(options: RepositoryRemovalOptions) {
    this.#options = options;
  }

  /**
   * For a name that nobody has and somebody is about to take; `freed`: somebody had it before. A name that was never used
   * needs no registry, which may be down.
   */
  async clear(
    name: RepositoryName,
    { freed }: { readonly freed: boolean },
    signal: AbortSignal,
  ): Promise<Removed> {
    const { retention, images } = this.#options;
    if (freed || (await images?.areKnown(formatRepositoryName(name)))) return await this.remove(name, signal);
    const builds = await retention.removeBuildsOf(name);
    if (builds === 'nothing') return 'removed';
    return builds === 'held' ? 'held' : await this.remove(name, signal);
  }

  /** Whether `remove` would answer `held` now. Removes nothing. Throws SqlError. */
  async isHeld(name: RepositoryName): Promise<boolean> {
    return await this.#options.retention.holdsBuildsOf(name);
  }

  /** Throws SqlError, and what `images` throws. */
  async remove(name: RepositoryName, signal: AbortSignal): Promise<Removed> {
    const { retention, images, clock, patience = 15_000 } = this.#options;
    const until = clock.now() + patience;
    const isTime = () => !signal.aborted && clock.now() < until;
    for (;;) {
      const builds = await retention.removeBuildsOf(name);
      if (builds === 'held') return 'held';
      if (builds === 'nothing') break;
      if (!isTime()) return 'more';
    }
    const path = formatRepositoryName(name);
    while (await images?.step(path, signal)) if (!isTime()) return 'more';
    return 'removed';
  }
}
