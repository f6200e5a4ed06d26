import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import { countUnarchived } from '../log/archive-rows.ts';
import { attemptStates } from '../model/attempt.ts';
import { phaseOfState } from '../model/phase.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import { surveyQueue } from '../queue/queue-survey.ts';
import type { Metrics } from '../telemetry/metrics.ts';

export interface WatchedParts {
  readonly metrics: Metrics;
  readonly database: Database;
  /** Names of the configured ones. */
  readonly executors: readonly string[];
  readonly orchestrator: Pick<Orchestrator, 'connected'>;
  readonly archiveLogs: boolean;
  readonly clock: Clock;
}

/** Gives the metrics what they read when they are asked for. */
export function watchParts(parts: WatchedParts): void {
  const { metrics, database, executors, orchestrator, archiveLogs, clock } = parts;
  const phases = new Set(
    attemptStates.filter((state) => state !== 'done').map((state) => phaseOfState(state)),
  );
  metrics.live.watchSurvey(async () => await surveyQueue(database, clock.now()), {
    phases: [...phases],
    executors,
  });
  metrics.live.watchOrchestrator(() => orchestrator.connected);
  if (archiveLogs) metrics.live.watchArchive(async () => await countUnarchived(database));
  if (database.connections() !== undefined)
    metrics.live.watchPool(() => database.connections() ?? { idle: 0, busy: 0, waiting: 0 });
}
