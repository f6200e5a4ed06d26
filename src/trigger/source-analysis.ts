import { messageOf } from '../base/coded-error.ts';
import { cutText } from '../base/cut-text.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import type { BaseImages } from './base-images.ts';
import { checkConfig, faultsOfConfig } from './check-config.ts';
import { asking, type HostConnections } from './connections.ts';
import { basesOf } from './dockerfile-bases.ts';
import type { SqlTriggerStore, TriggerWithSecrets } from './sql-trigger-store.ts';
import type { Trigger } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';
import { TriggerError } from './trigger-error.ts';
import type { Analysis, Triggers } from './triggers.ts';

type Asker = Parameters<Triggers['analyze']>[2];

export interface SourceAnalysisOptions {
  readonly store: SqlTriggerStore;
  readonly connections: HostConnections;
  readonly baseImages: BaseImages;
  readonly now: () => number;
}

const largestDockerfile = 1024 * 1024;

/** Looks at the source before a trigger is activated: whether it can be built, and what its builds need. */
export class SourceAnalysis {
  readonly #options: SourceAnalysisOptions;

  constructor(options: SourceAnalysisOptions) {
    this.#options = options;
  }

  async analyze(
    found: TriggerWithSecrets,
    given: Partial<TriggerConfig>,
    asker: Asker,
    signal: AbortSignal,
  ): Promise<Analysis> {
    const { connections, now } = this.#options;
    const faults = faultsOfConfig(given);
    let config: TriggerConfig;
    try {
      config = checkConfig(found.trigger.service, given, now());
    } catch (thrown) {
      if (thrown instanceof TriggerError) return { status: 'error', message: messageOf(thrown), faults };
      throw thrown;
    }
    const client = connections.client(found);
    // Nobody can look into it before it is built.
    if (client === undefined) return { status: 'analyzed', faults };
    const { build_source: source, dockerfile_path: path } = config;
    const branch = (await asking(client.repository(source, signal))).defaultBranch;
    const bytes =
      branch === undefined
        ? undefined
        : await asking(client.file(source, branch, path, largestDockerfile, signal));
    if (bytes === undefined)
      return {
        status: 'warning',
        message: `There is no Dockerfile at ${path} on the main branch. Builds fail until there is one.`,
        faults,
      };
    const bases = basesOf(bytes);
    if (typeof bases === 'string') return { status: 'error', message: bases, faults };
    if (bases === undefined)
      return { status: 'warning', message: 'There is no FROM line in the Dockerfile.', faults };
    return { ...(await this.#bases(bases, found.trigger, asker)), faults };
  }

  /** Of several the one that needs most. */
  async #bases(
    bases: readonly string[],
    { repository }: Trigger,
    asker: Asker,
  ): Promise<Omit<Analysis, 'faults'>> {
    let needed: Omit<Analysis, 'faults'> = { status: 'publicbase' };
    for (const image of bases) {
      const base = await this.#options.baseImages.look(image, { ...asker, for: repository });
      if (base === 'elsewhere') continue;
      if (base === undefined || (base.visibility === 'private' && !base.canRead))
        return {
          status: 'error',
          message: `There is no repository for the base image ${cutText(image, 200)}.`,
        };
      if (base.visibility === 'public') continue;
      needed = {
        status: 'requiresrobot',
        message: `The base image ${formatRepositoryName(base.repository)} is private. Choose a robot account that may read it.`,
        ...base.repository,
        isAdmin: base.isAdmin,
        robots: base.robots.map((robot) => ({ ...robot, kind: 'user', isRobot: true })),
      };
    }
    return needed;
  }
}
