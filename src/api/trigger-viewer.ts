import type { FastifyRequest } from 'fastify';
import type { Role } from '../account/accounts.ts';
import { faultsOfConfig } from '../trigger/check-config.ts';
import type { Trigger } from '../trigger/trigger.ts';
import type { Triggers } from '../trigger/triggers.ts';
import type { ApiDependencies } from './dependencies.ts';
import { type TriggerView, viewTrigger } from './trigger-view.ts';

/** Views of triggers for who asks, with what a person installs by hand. */
export class TriggerViewer {
  readonly #triggers: Triggers;
  readonly #options: ApiDependencies['options'];

  constructor({ triggers, options }: Pick<ApiDependencies, 'triggers' | 'options'>) {
    this.#triggers = triggers;
    this.#options = options;
  }

  async view(
    request: FastifyRequest,
    trigger: Trigger,
    role: Role,
    given?: readonly string[],
  ): Promise<TriggerView> {
    // What was stored once may be passed over by now.
    const found = role === 'admin' && trigger.config !== undefined ? faultsOfConfig(trigger.config) : [];
    const faults = given ?? (found.length === 0 ? undefined : found);
    const origin = this.#options.publicOrigin(request.raw);
    return viewTrigger(trigger, {
      role,
      repositoryUrl: this.#triggers.repositoryUrl(trigger),
      ...(trigger.active && role === 'admin'
        ? { credentials: await this.#triggers.credentials(trigger.id, origin) }
        : {}),
      ...(faults === undefined ? {} : { faults }),
    });
  }
}
