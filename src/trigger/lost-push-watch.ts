import type { Clock } from '../base/clock.ts';
import { accountRefusal, type BuilderAccounts } from './builder-accounts.ts';
import type { HostConnections } from './connections.ts';
import type { DueTriggers } from './due-triggers.ts';
import type { HostClient } from './git-host.ts';
import { HostError } from './host-error.ts';
import { type KnownRefs, newsOf } from './known-refs.ts';
import { RecurringTask } from './recurring-task.ts';
import type { SqlDeliveryStore } from './sql-delivery-store.ts';
import type { SqlTriggerStore, TriggerWithSecrets } from './sql-trigger-store.ts';
import type { Trigger, TriggerId } from './trigger.ts';
import type { TriggerLog, TriggerMetrics } from './trigger-events.ts';

export interface LostPushWatchOptions {
  readonly store: SqlTriggerStore;
  readonly due: DueTriggers;
  readonly refs: KnownRefs;
  readonly deliveries: SqlDeliveryStore;
  readonly connections: HostConnections;
  readonly accounts: BuilderAccounts;
  readonly clock: Clock;
  readonly metrics: TriggerMetrics;
  readonly log: TriggerLog;
  readonly onWaiting: () => void;
  /** Milliseconds between two looks at one source; 5 minutes unless given. */
  readonly interval?: number;
  readonly random?: () => number;
}

/** Triggers that are looked at in one round, one after the other. */
const most = 10;
/** Milliseconds between two rounds. */
const every = 5_000;
/** Deliveries one look makes at most: a host that shows nonsense is not to fill the queue. */
const mostFound = 50;
const longestWait = 6 * 3_600_000;

/**
 * Finds pushes whose delivery was lost: looks at branches and tags of each active trigger every few minutes and compares them
 * with what was delivered. The first look only remembers, and so does the first one after the trigger, or whoever connected
 * it, was switched off. A change counts as lost when the next look sees it too, without a delivery: until then it may be
 * on its way.
 */
export class LostPushWatch {
  readonly #options: LostPushWatchOptions;
  readonly #task: RecurringTask;

  constructor(options: LostPushWatchOptions) {
    const { clock, log } = options;
    this.#options = options;
    this.#task = new RecurringTask({
      clock,
      every,
      work: async (signal) => await this.round(signal),
      onError: (thrown) => log.error({ err: thrown }, 'sources could not be looked at; it is tried again'),
    });
  }

  start(): void {
    this.#task.start();
  }

  async stop(): Promise<void> {
    await this.#task.stop();
  }

  /** Says whether there may be more. */
  async round(signal: AbortSignal): Promise<boolean> {
    const { due, clock } = this.#options;
    const now = clock.now();
    const ids = await due.takePolls(now, now + this.#next(), most);
    for (const id of ids) if (!signal.aborted) await this.#look(id, signal);
    return ids.length === most;
  }

  async #look(id: TriggerId, signal: AbortSignal): Promise<void> {
    const { store, due, refs, accounts, connections, clock, log } = this.#options;
    const found = await store.findWithSecrets(id);
    if (found === undefined) return;
    try {
      if ((await accountRefusal(found.trigger, accounts)) !== undefined) {
        // Nor is anything asked in their name. What is pushed meanwhile is refused, and not built afterwards.
        await refs.startAnew(id);
        await due.looked(id, clock.now() + this.#next(), false);
        return;
      }
      const client = connections.client(found);
      if (client !== undefined) await this.#compare(found, client, signal);
      await due.looked(id, clock.now() + this.#next(), false);
    } catch (thrown) {
      if (signal.aborted) return;
      const failures = await due.pollFailures(id);
      const asked = thrown instanceof HostError ? (thrown.retryAfter ?? 0) : 0;
      const wait = Math.min(Math.max(asked, this.#next() * 2 ** Math.min(failures, 10)), longestWait);
      log.info({ err: thrown, trigger: id, wait }, 'a source could not be looked at for lost pushes');
      await due.looked(id, clock.now() + wait, true);
    }
  }

  async #compare({ trigger }: TriggerWithSecrets, client: HostClient, signal: AbortSignal): Promise<void> {
    const { refs, log } = this.#options;
    const source = trigger.config?.build_source;
    if (source === undefined) return;
    const { first, heard, refs: known } = await refs.of(trigger.id);
    const branches = await client.refs(source, 'branch', signal);
    const tags = await client.refs(source, 'tag', signal);
    const heads = new Map<string, string>([
      ...branches.map(({ name, commit }) => [`refs/heads/${name}`, commit] as const),
      ...tags.map(({ name, commit }) => [`refs/tags/${name}`, commit] as const),
    ]);
    let made = 0;
    let left = 0;
    for (const [ref, commit] of heads) {
      const before = known.get(ref);
      const news = newsOf(before, commit);
      if (first || (news.kind === 'same' && before?.settled === false)) {
        await refs.remember(trigger.id, ref, { commit, heard });
        continue;
      }
      if (news.kind === 'same') continue;
      const delivered = await refs.delivered(trigger.id, ref, commit);
      if (delivered === 'yes') await refs.remember(trigger.id, ref, { commit, heard });
      else if (delivered === 'waits') continue;
      else if (news.kind === 'suspect')
        await refs.remember(trigger.id, ref, { commit: before?.commit ?? '', suspect: commit, heard });
      else if (made === mostFound) left += 1;
      else {
        made += 1;
        await this.#deliver(trigger, { ref, commit, before: news.before }, client, signal);
        await refs.remember(trigger.id, ref, { commit, heard });
      }
    }
    if (left > 0)
      log.warn(
        { trigger: trigger.id, left },
        'more pushes were lost than are built at once; the next look goes on',
      );
    await refs.forget(
      trigger.id,
      [...known.keys()].filter((ref) => !heads.has(ref)),
    );
    if (first) await refs.firstLookEnded(trigger.id);
  }

  async #deliver(
    trigger: Trigger,
    {
      ref,
      commit,
      before,
    }: { readonly ref: string; readonly commit: string; readonly before: string | undefined },
    client: HostClient,
    signal: AbortSignal,
  ): Promise<void> {
    const { deliveries, metrics, log, onWaiting, clock } = this.#options;
    const source = trigger.config?.build_source ?? '';
    const { sshUrl, defaultBranch } = await client.repository(source, signal);
    const stored = await deliveries.store({
      triggerId: trigger.id,
      by: 'poll',
      // Looks at one source follow each other minutes apart; two that overlap find the same in the same minutes.
      key: `poll ${ref} ${before ?? ''} ${commit} ${Math.floor(clock.now() / 3_600_000)}`,
      // The branch may go there and back more than once in an hour.
      mayRecur: 'elsewhere',
      ref,
      commit,
      event: {
        kind: 'push',
        metadata: {
          commit,
          ref,
          ...(defaultBranch === undefined ? {} : { default_branch: defaultBranch }),
          git_url: sshUrl,
        },
        ...(before === undefined ? {} : { before }),
        incomplete: true,
      },
      outcome: { kind: 'waiting' },
    });
    if (stored === undefined || stored.repeated) return;
    metrics.delivered('waiting');
    log.warn({ trigger: trigger.id, ref, commit }, 'a push was found whose delivery was lost');
    onWaiting();
  }

  /** Not all at once. */
  #next(): number {
    const { interval = 5 * 60_000, random = Math.random } = this.#options;
    return Math.round(interval * (0.9 + 0.2 * random()));
  }
}
