import type { Build } from '../model/build.ts';
import { parseTriggerId, type Trigger } from '../trigger/trigger.ts';
import type { Triggers } from '../trigger/triggers.ts';

/** The trigger of a build, as views show it. */
export interface BuildTrigger {
  readonly trigger: Trigger;
  readonly repositoryUrl: string | undefined;
}

/** Finds the triggers of the builds of one answer, each once. A trigger that is gone is none. */
export class BuildTriggers {
  readonly #triggers: Pick<Triggers, 'find' | 'repositoryUrl'>;
  readonly #found = new Map<string, Promise<BuildTrigger | undefined>>();

  constructor(triggers: Pick<Triggers, 'find' | 'repositoryUrl'>) {
    this.#triggers = triggers;
  }

  async of(build: Pick<Build, 'triggerId' | 'repository'>): Promise<BuildTrigger | undefined> {
    const { triggerId } = build;
    if (triggerId === undefined) return undefined;
    const found = this.#found.get(triggerId) ?? this.#find(build, triggerId);
    this.#found.set(triggerId, found);
    return await found;
  }

  async #find({ repository }: Pick<Build, 'repository'>, text: string): Promise<BuildTrigger | undefined> {
    const id = parseTriggerId(text);
    const trigger = id === undefined ? undefined : await this.#triggers.find(repository, id);
    return trigger && { trigger, repositoryUrl: this.#triggers.repositoryUrl(trigger) };
  }
}
