import type { Clock } from '../base/clock.ts';
import type { Build } from '../model/build.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import { credentialsOf, type TriggerActivation } from './activation.ts';
import { checkConfig } from './check-config.ts';
import type { HostConnections } from './connections.ts';
import { nextDue } from './cron-schedule.ts';
import type { HookDelivery } from './git-host.ts';
import { type HostReporter, longestLeave } from './host-reporter.ts';
import type { Intake } from './intake.ts';
import type { ManualStart } from './manual-start.ts';
import type { SourceAnalysis } from './source-analysis.ts';
import type { SourceBrowser } from './source-browser.ts';
import type { SqlDeliveryStore } from './sql-delivery-store.ts';
import type { SqlNotices } from './sql-notices.ts';
import { mostTriggers, type SqlTriggerStore, type TriggerWithSecrets } from './sql-trigger-store.ts';
import { type DeliveryId, newDeliveryId, type Trigger, type TriggerId } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';
import { TriggerError } from './trigger-error.ts';
import type { Activated, Analysis, Delivery, StartWish, Triggers } from './triggers.ts';

export interface TriggerServiceParts {
  readonly store: SqlTriggerStore;
  readonly deliveries: SqlDeliveryStore;
  readonly connections: HostConnections;
  readonly activation: TriggerActivation;
  readonly reporter: HostReporter;
  readonly analysis: SourceAnalysis;
  readonly browser: SourceBrowser;
  readonly intake: Intake;
  readonly starts: ManualStart;
  readonly notices: SqlNotices;
  readonly builds: (ids: readonly string[]) => Promise<readonly Build[]>;
  readonly clock: Clock;
  /** Told that a delivery waits. */
  readonly onWaiting: () => void;
}

/** Secrets that the builds of one trigger get, and bytes of each. */
const mostSecrets = 100;
const largestSecret = 512 * 1024;
/** Milliseconds for what a host is asked when a trigger is deleted. */
const longestUninstall = 30_000;

/** Triggers as the REST interface sees them. What it does is in the parts beside it. */
export class TriggerService implements Triggers {
  readonly #parts: TriggerServiceParts;

  constructor(parts: TriggerServiceParts) {
    this.#parts = parts;
  }

  async create(repository: RepositoryName, what: Parameters<Triggers['create']>[1]): Promise<Trigger> {
    const { store, connections } = this.#parts;
    connections.host(what.service);
    if ((await store.count(repository)) >= mostTriggers)
      throw new TriggerError(
        'bad-config',
        `A repository may have ${mostTriggers} build triggers. Delete one first.`,
      );
    return await store.create(repository, what);
  }

  async list(repository: RepositoryName): Promise<readonly Trigger[]> {
    return await this.#parts.store.list(repository);
  }

  async find({ namespace, name }: RepositoryName, id: TriggerId): Promise<Trigger | undefined> {
    const found = await this.#parts.store.find(id);
    const its = found?.repository;
    return its?.namespace === namespace && its.name === name ? found : undefined;
  }

  repositoryUrl({ service, config }: Trigger): string | undefined {
    // A host that was switched off since leads nowhere.
    const host = this.#parts.connections.has(service) ? this.#parts.connections.host(service) : undefined;
    return config === undefined ? undefined : host?.repositoryUrl(config.build_source);
  }

  async setEnabled(id: TriggerId, enabled: boolean, user?: string): Promise<Trigger> {
    const { store, notices, clock } = this.#parts;
    const before = await this.#trigger(id);
    if (before.enabled === enabled) return before;
    if (!enabled) return (await store.disable(id, 'user_toggled')) ?? (await this.#trigger(id));
    if (before.connectedUser === undefined && before.service !== 'custom-git')
      throw new TriggerError(
        'bad-config',
        'The user whose account the build trigger was connected with was deleted. Delete it, and make a new one.',
      );
    const after = await store.enable(id, nextDue(before.config?.cron, clock.now()), user);
    if (after === undefined) throw gone();
    await notices.clear(id, 'enabled');
    return after;
  }

  async configure(
    id: TriggerId,
    change: Partial<TriggerConfig>,
    pullRobot?: string | null,
  ): Promise<Trigger> {
    const { store, clock } = this.#parts;
    const trigger = await this.#trigger(id);
    if (!trigger.active)
      throw new TriggerError(
        'not-active',
        'The build trigger has not been activated yet. Finish its set-up first.',
      );
    const now = clock.now();
    const after = await store.configure(
      id,
      (before) => {
        const { git_url, hook_id, deploy_key_id } = before;
        const checked = checkConfig(
          trigger.service,
          { ...before, ...change, build_source: before.build_source },
          now,
        );
        const config = {
          ...checked,
          ...(git_url === undefined ? {} : { git_url }),
          ...(hook_id === undefined ? {} : { hook_id }),
          ...(deploy_key_id === undefined ? {} : { deploy_key_id }),
        };
        return { config, cronAt: nextDue(config.cron, now) };
      },
      pullRobot,
    );
    if (after === undefined) throw gone();
    return after;
  }

  async remove(id: TriggerId): Promise<{ readonly leftAtHost: readonly string[] }> {
    const { store, activation, reporter } = this.#parts;
    const found = await this.#found(id);
    // Each has its own time: a host that is slow to take one does not keep the other from being tried.
    const pending = await reporter.takeLeave(found, AbortSignal.timeout(longestLeave));
    const leftAtHost = await activation.uninstall(found, AbortSignal.timeout(longestUninstall));
    await store.remove(id);
    return { leftAtHost: pending === 0 ? leftAtHost : [...leftAtHost, statusesLeft(found.trigger, pending)] };
  }

  async secretIds(id: TriggerId): Promise<readonly string[]> {
    return await this.#parts.store.secretIds(id);
  }

  async setSecret(id: TriggerId, secret: string, value: Uint8Array | undefined): Promise<boolean> {
    const { store } = this.#parts;
    await this.#trigger(id);
    if (value === undefined) return await store.setSecret(id, secret, undefined);
    // Those of the source itself have other ids, which none can be given here.
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(secret))
      throw new TriggerError('bad-config', 'The id of a secret may have letters, digits and _ . - only.');
    if (value.byteLength > largestSecret)
      throw new TriggerError('bad-config', `The secret "${secret}" is larger than ${largestSecret} bytes.`);
    const ids = await store.secretIds(id);
    if (ids.length >= mostSecrets && !ids.includes(secret))
      throw new TriggerError('bad-config', `A build trigger may have ${mostSecrets} secrets.`);
    return await store.setSecret(id, secret, value);
  }

  async namespaces(id: TriggerId, signal: AbortSignal) {
    return await this.#parts.browser.namespaces(await this.#found(id), signal);
  }

  async sources(id: TriggerId, namespace: string, signal: AbortSignal) {
    return await this.#parts.browser.sources(await this.#found(id), namespace, signal);
  }

  async fieldValues(id: TriggerId, field: string, config: Partial<TriggerConfig>, signal: AbortSignal) {
    return await this.#parts.browser.fieldValues(await this.#found(id), field, config, signal);
  }

  async dockerfiles(id: TriggerId, config: Partial<TriggerConfig>, signal: AbortSignal) {
    return await this.#parts.browser.dockerfiles(await this.#found(id), config, signal);
  }

  async analyze(
    id: TriggerId,
    config: Partial<TriggerConfig>,
    asker: Parameters<Triggers['analyze']>[2],
    signal: AbortSignal,
  ): Promise<Analysis> {
    return await this.#parts.analysis.analyze(await this.#found(id), config, asker, signal);
  }

  async activate(
    id: TriggerId,
    what: Parameters<Triggers['activate']>[1],
    signal: AbortSignal,
  ): Promise<Activated> {
    return await this.#parts.activation.activate(await this.#found(id), what, signal);
  }

  async credentials(id: TriggerId, origin: string): Promise<Activated['credentials']> {
    return credentialsOf(await this.#found(id), origin);
  }

  async start(
    id: TriggerId,
    wish: StartWish,
    user: string,
    signal: AbortSignal,
    traceParent?: string,
  ): Promise<Build> {
    const found = await this.#parts.store.findForBuilds(id);
    if (found === undefined) throw gone();
    return await this.#parts.starts.start(found, wish, user, signal, traceParent);
  }

  async builds(id: TriggerId, limit: number): Promise<readonly Build[]> {
    return await this.#parts.builds(await this.#parts.store.buildIds(id, limit));
  }

  async deliver(id: string, delivery: HookDelivery, writeToken: string | undefined, traceParent?: string) {
    return await this.#parts.intake.deliver(id, delivery, writeToken, traceParent);
  }

  async deliveries(id: TriggerId, limit: number, before?: DeliveryId): Promise<readonly Delivery[]> {
    return await this.#parts.deliveries.list(id, limit, before);
  }

  async redeliver(id: TriggerId, delivery: DeliveryId, user: string): Promise<Delivery> {
    const { deliveries, onWaiting } = this.#parts;
    const trigger = await this.#trigger(id);
    if (!trigger.enabled)
      throw new TriggerError('disabled', 'The build trigger is switched off. Switch it on first.');
    const before = await deliveries.find(delivery);
    if (before?.triggerId !== id)
      throw new TriggerError('unknown', 'There is no such delivery. Old ones are removed.');
    const work = await deliveries.work(delivery);
    if (work === undefined)
      throw new TriggerError(
        'bad-config',
        'There was nothing to build in this delivery, so there is nothing to send again.',
      );
    // Nobody who sends an old push again wants a newer one not to be built for that.
    if (trigger.config?.newest_only === true && (await deliveries.isOvertaken(delivery)))
      throw new TriggerError(
        'bad-config',
        'A newer push of the same ref waits to be built, and the trigger builds only the newest. Send this one again when that build has started, or cancel it.',
      );
    const stored = await deliveries.store({
      triggerId: id,
      by: 'person',
      key: `person ${newDeliveryId()}`,
      mayRecur: false,
      ...(before.event === undefined ? {} : { eventName: before.event }),
      ...(before.ref === undefined ? {} : { ref: before.ref }),
      ...(before.commit === undefined ? {} : { commit: before.commit }),
      event: work.event,
      outcome: { kind: 'waiting' },
      redeliveryOf: delivery,
      askedBy: user,
    });
    const after = stored?.id === undefined ? undefined : await deliveries.find(stored.id);
    if (after === undefined) throw gone();
    onWaiting();
    return after;
  }

  async #trigger(id: TriggerId): Promise<Trigger> {
    const trigger = await this.#parts.store.find(id);
    if (trigger === undefined) throw gone();
    return trigger;
  }

  async #found(id: TriggerId): Promise<TriggerWithSecrets> {
    const found = await this.#parts.store.findWithSecrets(id);
    if (found === undefined) throw gone();
    return found;
  }
}

function statusesLeft({ config }: Trigger, count: number): string {
  const what = count === 1 ? '1 commit' : `${count} commits`;
  return `${what} of ${config?.build_source ?? 'the source'} may show a build as pending for ever. Build them by another trigger, or set their statuses at the host.`;
}

function gone(): TriggerError {
  return new TriggerError('unknown', 'There is no such build trigger. It may have been deleted.');
}
