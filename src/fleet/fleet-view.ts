import type { ExecutorReport } from './executor-report.ts';
import type { ManagerReport } from './executor-reports.ts';
import type { ExecutorSwitch } from './executor-switches.ts';

/** `drained`: cordoned by somebody who waited for its workers to be gone, and they are. */
export type ExecutorState = 'ready' | 'cordoned' | 'draining' | 'drained';

/** One executor over all managers. Times are milliseconds since 1970. */
export interface ExecutorView {
  readonly name: string;
  readonly type: string;
  readonly rules: ExecutorReport['rules'];
  readonly state: ExecutorState;
  /** Who cordoned it, and when; absent when its configuration did, or nobody. */
  readonly changed?: { readonly at: number; readonly by: string };
  readonly running: number;
  readonly maxWorkers?: number;
  /** The worst of all managers', and until when that is left alone. */
  readonly breaker: ExecutorReport['breaker'];
  readonly lastStart?: number;
  /** Of all managers, the newest first. */
  readonly failures: readonly (ExecutorReport['failures'][number] & { readonly manager: string })[];
  /** That have it. */
  readonly managers: readonly string[];
}

export interface FleetAlert {
  readonly manager: string;
  readonly since: number;
  readonly message: string;
  readonly executors: readonly string[];
}

export interface FleetView {
  readonly executors: readonly ExecutorView[];
  readonly alerts: readonly FleetAlert[];
}

const shownFailures = 5;
const badness = { closed: 0, 'half-open': 1, open: 2 } as const;

/** Puts together what each manager says; `running`: workers by executor as the queue knows them. */
export function viewFleet(
  reports: readonly ManagerReport[],
  switches: ReadonlyMap<string, ExecutorSwitch>,
  running: ReadonlyMap<string, number>,
): FleetView {
  const byName = new Map<string, { readonly manager: string; readonly report: ExecutorReport }[]>();
  for (const { manager, report } of reports) {
    for (const executor of report.executors) {
      const known = byName.get(executor.name) ?? [];
      byName.set(executor.name, [...known, { manager, report: executor }]);
    }
  }
  return {
    executors: [...byName].map(([name, reported]) =>
      viewOf(name, reported, switches.get(name), running.get(name) ?? 0),
    ),
    alerts: reports.flatMap(({ manager, report }) => report.alerts.map((alert) => ({ manager, ...alert }))),
  };
}

function viewOf(
  name: string,
  reported: readonly { readonly manager: string; readonly report: ExecutorReport }[],
  set: ExecutorSwitch | undefined,
  queued: number,
): ExecutorView {
  const reports = reported.map(({ report }) => report);
  const [first] = reports;
  if (first === undefined) throw new TypeError(`nobody reported ${name}`);
  // A worker may outlive its attempt for a moment, and only its executor knows of it.
  const running = Math.max(queued, ...reports.map((report) => report.running ?? 0));
  const configured = reports.some(({ rules }) => rules.cordoned);
  const lastStart = Math.max(...reports.map((report) => report.lastStart ?? 0));
  return {
    name,
    type: first.type,
    rules: { ...first.rules, cordoned: configured },
    state: stateOf(set, configured, running),
    ...(set === undefined ? {} : { changed: { at: set.changedAt, by: set.changedBy } }),
    running,
    ...(first.maxWorkers === undefined ? {} : { maxWorkers: first.maxWorkers }),
    breaker: reports
      .map(({ breaker }) => breaker)
      .reduce((one, other) => (badness[other.kind] > badness[one.kind] ? other : one)),
    ...(lastStart === 0 ? {} : { lastStart }),
    failures: reported
      .flatMap(({ manager, report }) => report.failures.map((failure) => ({ ...failure, manager })))
      .sort((one, other) => other.at - one.at)
      .slice(0, shownFailures),
    managers: reported.map(({ manager }) => manager),
  };
}

function stateOf(set: ExecutorSwitch | undefined, configured: boolean, running: number): ExecutorState {
  if (set?.position === 'draining') return running === 0 ? 'drained' : 'draining';
  return set !== undefined || configured ? 'cordoned' : 'ready';
}
