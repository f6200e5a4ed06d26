import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { formatRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import { commitStatusOf } from './commit-status.ts';
import type { HostConnections } from './connections.ts';
import type { HostClient } from './git-host.ts';
import { HostError } from './host-error.ts';
import type { DueReport, HostReports } from './host-reports.ts';
import { RecurringTask } from './recurring-task.ts';
import type { SqlTriggerStore, TriggerWithSecrets } from './sql-trigger-store.ts';
import type { Trigger } from './trigger.ts';
import type { TriggerLog, TriggerMetrics } from './trigger-events.ts';

export interface HostReporterOptions {
  readonly store: SqlTriggerStore;
  readonly reports: HostReports;
  readonly connections: HostConnections;
  readonly clock: Clock;
  readonly metrics: TriggerMetrics;
  readonly log: TriggerLog;
  /** Where people read the log of a build. */
  readonly logUrl: (repository: RepositoryName, build: string) => string;
  /** Milliseconds between two looks; 5,000 unless given. */
  readonly every?: number;
}

const most = 32;
/** Builds of a trigger that is deleted, of which the host is told in one go; and milliseconds for all of them. */
const leavePage = 50;
export const longestLeave = 30_000;
const lease = 120_000;
/** Milliseconds after which a request is given up, so that nobody else has taken the report meanwhile. */
const longestSend = lease - 20_000;
/** Milliseconds for which a request that had no answer may still be carried out by the host. */
const settling = 30_000;
/** Milliseconds for which it is tried; then nobody looks at the commit any more. */
const patience = 24 * 3_600_000;
const waits = { first: 5_000, cap: 30 * 60_000 };

/**
 * Tells hosts how builds go: a status at the commit, with a link to the log. It follows what the builds' rows say, never the
 * other way around: a host that does not answer holds nothing up.
 */
export class HostReporter {
  readonly #options: HostReporterOptions;
  readonly #task: RecurringTask;

  constructor(options: HostReporterOptions) {
    const { clock, log, every = 5_000 } = options;
    this.#options = options;
    this.#task = new RecurringTask({
      clock,
      every,
      work: async (signal) => await this.round(signal),
      onError: (thrown) =>
        log.error({ err: thrown }, 'commit statuses could not be looked at; it is tried again'),
    });
  }

  start(): void {
    this.#task.start();
  }

  wake(): void {
    this.#task.wake();
  }

  async stop(): Promise<void> {
    await this.#task.stop();
  }

  /** Tells what is new. Says whether there may be more. */
  async round(signal: AbortSignal): Promise<boolean> {
    const due = await this.#options.reports.claim(most, lease);
    await Promise.all(due.map(async (report) => await this.#tell(report, signal)));
    return due.length > 0;
  }

  async #tell(report: DueReport, signal: AbortSignal): Promise<void> {
    const { reports, clock, metrics, log } = this.#options;
    try {
      await this.#sendInTime(report, signal);
    } catch (thrown) {
      const settled = isUnanswered(thrown) ? clock.now() + settling : undefined;
      if (signal.aborted) {
        await reports.postpone(report.build, settled ?? clock.now(), settled);
        return;
      }
      const wait = waitAfter(thrown, report.tries);
      if (wait === undefined || clock.now() + wait - (report.finishedAt ?? report.createdAt) > patience) {
        metrics.statusSent('dropped');
        log.warn({ err: thrown, build: report.build }, 'a host was not told how a build went');
        await reports.drop(report.build);
        return;
      }
      metrics.statusSent('failed');
      await reports.postpone(report.build, Math.max(clock.now() + wait, settled ?? 0), settled);
    }
  }

  async #sendInTime(report: DueReport, signal: AbortSignal): Promise<void> {
    const [late, done] = [new AbortController(), new AbortController()];
    this.#options.clock.sleep(longestSend, done.signal).then(
      () => late.abort(),
      () => {},
    );
    try {
      await this.#send(report, AbortSignal.any([signal, late.signal]));
    } finally {
      done.abort();
    }
  }

  /**
   * Says of builds that the host takes to be under way how they went, or that nobody will tell: their trigger is about to
   * be deleted. A host that does not take it keeps nothing up. Says how many it shows as under way for ever.
   */
  async takeLeave(found: TriggerWithSecrets, signal: AbortSignal): Promise<number> {
    const { reports, connections, clock, metrics, log } = this.#options;
    const { trigger } = found;
    const source = trigger.config?.build_source;
    if (source === undefined || (await reports.countPending(trigger.id)) === 0) return 0;
    const until = clock.now() + longestLeave;
    let refused = 0;
    try {
      const client = connections.client(found);
      for (let told = leavePage; client !== undefined && told === leavePage && clock.now() < until; ) {
        const page = await reports.pending(trigger.id, leavePage);
        for (const report of page) {
          const taken = await this.#sayGoodbye(report, trigger, source, client, signal);
          metrics.statusSent(taken ? 'sent' : 'dropped');
          if (!taken) refused += 1;
          await reports.drop(report.build);
        }
        told = page.length;
      }
    } catch (thrown) {
      metrics.statusSent('dropped');
      log.warn({ err: thrown, trigger: trigger.id }, 'a host was not told that a trigger was deleted');
    }
    const left = refused + (await reports.countPending(trigger.id));
    if (left > 0)
      log.warn({ trigger: trigger.id, left }, 'builds of a deleted trigger stay pending at its host');
    return left;
  }

  /** False: the host does not take it for this commit, which may be gone. */
  async #sayGoodbye(
    { build, commit, phase, fault, context, finishedAt }: DueReport,
    trigger: Trigger,
    source: string,
    client: HostClient,
    signal: AbortSignal,
  ): Promise<boolean> {
    const status =
      phase === undefined || finishedAt === undefined
        ? ({ state: 'error', description: 'The build trigger was deleted.' } as const)
        : commitStatusOf(phase, fault);
    const url = this.#options.logUrl(trigger.repository, build);
    const name = context ?? (await this.#contextOf(trigger));
    try {
      await client.setStatus(source, commit, { ...status, url, context: name }, signal);
      return true;
    } catch (thrown) {
      if (thrown instanceof HostError && ofOneCommit.has(thrown.code)) return false;
      throw thrown;
    }
  }

  /** What tells statuses apart: the oldest trigger of a repository has its name, the others their own id with it. */
  async #contextOf({ id, repository }: Trigger): Promise<string> {
    const [oldest] = await this.#options.store.list(repository);
    const name = `slipway/${formatRepositoryName(repository)}`;
    return oldest === undefined || oldest.id === id ? name : `${name} (${id.slice(0, 8)})`;
  }

  async #send(report: DueReport, signal: AbortSignal): Promise<void> {
    const { store, reports, connections, metrics, logUrl } = this.#options;
    const found = await store.findWithSecrets(report.triggerId);
    const client = found === undefined ? undefined : connections.client(found);
    const source = found?.trigger.config?.build_source;
    if (found === undefined || client === undefined || source === undefined || report.phase === undefined) {
      await reports.drop(report.build);
      return;
    }
    // Whatever is older has nothing to say any more, be it late or not.
    if (!(await reports.isNewest(report))) {
      await reports.drop(report.build);
      return;
    }
    const { repository } = found.trigger;
    const status = commitStatusOf(report.phase, report.fault);
    const context = report.context ?? (await this.#contextOf(found.trigger));
    if (status.state !== report.sent) {
      await client.setStatus(
        source,
        report.commit,
        {
          ...status,
          url: logUrl(repository, report.build),
          context,
        },
        signal,
      );
      metrics.statusSent('sent');
    }
    if (report.finishedAt === undefined) await reports.sent(report.build, status.state, context);
    else await reports.drop(report.build);
  }
}

/** Refusals that say nothing of other commits. */
const ofOneCommit: ReadonlySet<string> = new Set(['not-found', 'unexpected']);

function isUnanswered(thrown: unknown): boolean {
  return thrown instanceof HostError && thrown.unanswered;
}

/** Undefined: another try is of no use. */
function waitAfter(thrown: unknown, tries: number): number | undefined {
  const usual = backOff(tries - 1, waits);
  if (!(thrown instanceof HostError)) return usual;
  switch (thrown.code) {
    case 'unauthorized':
    case 'forbidden':
    case 'not-found':
      return undefined;
    case 'rate-limited':
      return Math.min(Math.max(thrown.retryAfter ?? usual, usual), waits.cap * 2);
    default:
      return usual;
  }
}
