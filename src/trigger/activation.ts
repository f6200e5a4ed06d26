import { randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { redactUrl } from '../model/redact-url.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import { checkConfig, faultsOfConfig } from './check-config.ts';
import { asking, type HostConnections } from './connections.ts';
import { nextDue } from './cron-schedule.ts';
import type { HostClient } from './git-host.ts';
import { gitUrl } from './host/git-names.ts';
import { HostError } from './host-error.ts';
import type { SqlTriggerStore, TriggerWithSecrets } from './sql-trigger-store.ts';
import { newSshKey } from './ssh-key.ts';
import type { Trigger } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';
import { TriggerError } from './trigger-error.ts';
import type { TriggerLog } from './trigger-events.ts';
import type { Activated } from './triggers.ts';

export interface ActivationOptions {
  readonly store: SqlTriggerStore;
  readonly connections: HostConnections;
  readonly clock: Clock;
  readonly log: TriggerLog;
}

export interface ActivationRequest {
  readonly config: Partial<TriggerConfig>;
  readonly pullRobot?: string;
  readonly origin: string;
}

/** Milliseconds after activation until the source is looked at for the first time. */
export const firstLook = 60_000;

/** Milliseconds for taking back what was installed, which has to go also when the caller is gone. */
const longestUndo = 30_000;

interface Installed {
  readonly config: TriggerConfig;
  /** Takes back what was installed; what could not be taken back, as sentences. */
  readonly undo: () => Promise<readonly string[]>;
}

/** One thing that is installed at a host. */
interface Installation {
  readonly what: 'webhook' | 'deploy key';
  readonly add: () => Promise<string>;
  /** All of it that is there, by the host's names. */
  readonly find: (signal: AbortSignal) => Promise<readonly string[]>;
  readonly remove: (id: string, signal: AbortSignal) => Promise<void>;
}

/** What is installed at hosts, and how it is removed. */
const removable = {
  hook: (client: HostClient, source: string) => ({
    what: 'webhook' as const,
    remove: async (id: string, signal: AbortSignal) => await client.removeHook(source, id, signal),
  }),
  key: (client: HostClient, source: string) => ({
    what: 'deploy key' as const,
    remove: async (id: string, signal: AbortSignal) => await client.removeKey(source, id, signal),
  }),
};

/** Makes a trigger active: its key and tokens, and at the host a deploy key and a webhook. All of it or nothing. */
export class TriggerActivation {
  readonly #options: ActivationOptions;

  constructor(options: ActivationOptions) {
    this.#options = options;
  }

  async activate(
    found: TriggerWithSecrets,
    request: ActivationRequest,
    signal: AbortSignal,
  ): Promise<Activated> {
    const { store, connections, clock } = this.#options;
    const { trigger } = found;
    if (trigger.active)
      throw new TriggerError(
        'active',
        'The build trigger is active already. Change its settings, or make a new one.',
      );
    const config = checkConfig(trigger.service, request.config, clock.now());
    const client = connections.client(found);
    if (client === undefined && trigger.service !== 'custom-git')
      throw new TriggerError(
        'bad-config',
        'The build trigger is not connected with an account. Connect it first.',
      );
    const key = newSshKey(`slipway-trigger-${trigger.id}`);
    const webhookSecret = client === undefined ? undefined : newToken();
    const installed =
      client === undefined || webhookSecret === undefined
        ? { config, undo: async () => [] }
        : await this.#install(client, trigger, config, {
            publicKey: key.publicKey,
            hook: { url: hookUrl(request.origin, trigger), secret: webhookSecret },
            signal,
          });
    const writeToken = newToken();
    let activated: Trigger | undefined;
    try {
      activated = await store.activate(trigger.id, {
        ...key,
        config: installed.config,
        pullRobot: request.pullRobot,
        writeToken,
        webhookSecret,
        cronAt: nextDue(config.cron, clock.now()),
        pollAt: client === undefined ? undefined : clock.now() + firstLook,
      });
    } catch (thrown) {
      await installed.undo();
      throw thrown;
    }
    if (activated === undefined) {
      const left = await installed.undo();
      throw new TriggerError(
        'active',
        ['The build trigger was activated or deleted by somebody else meanwhile.', ...left].join(' '),
      );
    }
    return {
      trigger: activated,
      faults: faultsOfConfig(config),
      credentials: credentialsOf(
        { ...found, trigger: activated, secrets: { write_token: writeToken } },
        request.origin,
      ),
    };
  }

  /** Takes hook and key away at the host; what could not be taken away, as sentences. */
  async uninstall(found: TriggerWithSecrets, signal: AbortSignal): Promise<readonly string[]> {
    const { trigger } = found;
    const { build_source: source, hook_id: hook, deploy_key_id: key } = trigger.config ?? {};
    if (source === undefined || (hook === undefined && key === undefined)) return [];
    try {
      const client = this.#options.connections.client(found);
      if (client !== undefined)
        return await this.#takeBack(
          source,
          [
            ...(hook === undefined ? [] : [[removable.hook(client, source), hook] as const]),
            ...(key === undefined ? [] : [[removable.key(client, source), key] as const]),
          ],
          signal,
        );
    } catch (thrown) {
      this.#options.log.warn(
        { err: thrown, trigger: trigger.id },
        'a host could not be asked to forget a trigger',
      );
    }
    return [`The webhook and the deploy key of ${source} are still there; remove them by hand.`];
  }

  async #install(
    client: HostClient,
    trigger: Trigger,
    config: TriggerConfig,
    what: {
      readonly publicKey: string;
      readonly hook: { readonly url: string; readonly secret: string };
      readonly signal: AbortSignal;
    },
  ): Promise<Installed> {
    const { build_source: source } = config;
    const title = `Slipway ${formatRepositoryName(trigger.repository)}`;
    const { sshUrl: git_url } = await asking(client.repository(source, what.signal));
    if (!gitUrl.fits(git_url))
      throw new TriggerError(
        'bad-config',
        `The host says that ${source} is cloned from an address that cannot be used: ${redactUrl(git_url)}.`,
      );
    // A request that is given up may be carried out all the same: once it has begun, the caller's going away ends nothing.
    const unhurried = new AbortController().signal;
    const ofKey: Installation = {
      add: async () => await client.addKey(source, { title, publicKey: what.publicKey }, unhurried),
      find: async (signal) => await client.keysOf(source, what.publicKey, signal),
      ...removable.key(client, source),
    };
    const ofHook: Installation = {
      add: async () => await client.addHook(source, what.hook, unhurried),
      find: async (signal) => {
        const found = await client.hooksTo(source, what.hook.url, signal);
        // One of somebody who activates the same trigger at this moment, and was first.
        const theirs = (await this.#options.store.find(trigger.id))?.config?.hook_id;
        return found.filter((id) => id !== theirs);
      },
      ...removable.hook(client, source),
    };
    const key = await this.#add(source, ofKey, []);
    const hook = await this.#add(source, ofHook, [[ofKey, key]]);
    return {
      config: { ...config, git_url, hook_id: hook, deploy_key_id: key },
      undo: async () =>
        await this.#takeBack(
          source,
          [
            [ofHook, hook],
            [ofKey, key],
          ],
          AbortSignal.timeout(longestUndo),
        ),
    };
  }

  /** Installs something. When that fails, nothing is left of it, nor of what was installed before, or the error says so. */
  async #add(
    source: string,
    installation: Installation,
    before: readonly (readonly [Installation, string])[],
  ): Promise<string> {
    const { what } = installation;
    try {
      return await installation.add();
    } catch (thrown) {
      const signal = AbortSignal.timeout(longestUndo);
      const left: string[] = [];
      if (mayBeDone(thrown)) {
        try {
          const found = await installation.find(signal);
          left.push(
            ...(await this.#takeBack(
              source,
              found.map((id) => [installation, id]),
              signal,
            )),
          );
          if (found.length === 0 && isUnanswered(thrown))
            left.push(
              `The host may install the ${what} of ${source} yet; look there, and remove it by hand.`,
            );
        } catch (error) {
          this.#options.log.warn({ err: error, source, what }, 'a host did not say what is installed there');
          left.push(`The ${what} of ${source} may be there nevertheless; look there, and remove it by hand.`);
        }
      }
      left.push(...(await this.#takeBack(source, before, AbortSignal.timeout(longestUndo))));
      if (!(thrown instanceof HostError)) throw thrown;
      throw new TriggerError('host', [thrown.message, ...left].join(' '), thrown);
    }
  }

  /** What could not be taken away, as sentences. */
  async #takeBack(
    source: string,
    installed: readonly (readonly [Pick<Installation, 'what' | 'remove'>, string])[],
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const left: string[] = [];
    for (const [{ what, remove }, id] of installed) {
      try {
        await remove(id, signal);
      } catch (thrown) {
        left.push(`The ${what} of ${source} is still there; remove it by hand. ${messageOf(thrown)}`);
        this.#options.log.warn(
          { err: thrown, source, what },
          'a host did not remove what a trigger had installed',
        );
      }
    }
    return left;
  }
}

/** A host that says no has done nothing; everything else leaves that open. */
function mayBeDone(thrown: unknown): boolean {
  return thrown instanceof HostError && !thrown.refused;
}

function isUnanswered(thrown: unknown): boolean {
  return thrown instanceof HostError && thrown.unanswered;
}

/** What a person installs by hand where we cannot. */
export function credentialsOf(
  { trigger, secrets }: TriggerWithSecrets,
  origin: string,
): Activated['credentials'] {
  const key = trigger.publicKey === undefined ? [] : [{ name: 'SSH Public Key', value: trigger.publicKey }];
  if (trigger.service !== 'custom-git' || secrets.write_token === undefined) return key;
  const url = hookUrl(origin, trigger).replace('://', `://$token:${secrets.write_token}@`);
  return [...key, { name: 'Webhook Endpoint URL', value: url }];
}

function hookUrl(origin: string, { id }: Trigger): string {
  return `${origin}/webhooks/push/trigger/${id}`;
}

/** 240 random bits that need no escaping in a URL. */
function newToken(): string {
  return randomBytes(30).toString('base64url');
}
