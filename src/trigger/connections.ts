import type { GitHost, HostClient } from './git-host.ts';
import { HostError } from './host-error.ts';
import type { SqlTriggerStore, TriggerWithSecrets } from './sql-trigger-store.ts';
import type { TriggerService } from './trigger.ts';
import { TriggerError } from './trigger-error.ts';

/** The hosts that are there, and clients that act as the account a trigger is connected with. */
export class HostConnections {
  readonly #hosts: ReadonlyMap<TriggerService, GitHost>;
  readonly #store: SqlTriggerStore;

  constructor(hosts: ReadonlyMap<TriggerService, GitHost>, store: SqlTriggerStore) {
    this.#hosts = hosts;
    this.#store = store;
  }

  has(service: TriggerService): boolean {
    return this.#hosts.has(service);
  }

  /** Throws TriggerError `bad-config` when the server is not set up for it. */
  host(service: TriggerService): GitHost {
    const host = this.#hosts.get(service);
    if (host !== undefined) return host;
    throw new TriggerError(
      'bad-config',
      `Triggers of ${service} are switched off on this server. Ask an administrator to switch them on (FEATURE_GITHUB_BUILD, FEATURE_GITLAB_BUILD, FEATURE_BITBUCKET_BUILD).`,
    );
  }

  /** Undefined: there is nobody to ask. */
  client({ trigger, secrets }: TriggerWithSecrets): HostClient | undefined {
    const token = secrets.auth_token;
    if (token === undefined) return undefined;
    return this.host(trigger.service).connect(token, {
      latest: async () => await this.#store.authToken(trigger.id),
      renewed: async (renewed) => await this.#store.keepAuthToken(trigger.id, renewed),
    });
  }
}

/** What a host answered, for whoever asked for something that needs it. Other errors are thrown as they are. */
export async function asking<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    if (thrown instanceof HostError && thrown.code !== 'cancelled')
      throw new TriggerError('host', thrown.message, thrown);
    throw thrown;
  }
}
