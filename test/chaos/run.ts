import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { systemClock as clock } from '../../src/base/clock.ts';
import { composeStore } from '../../src/bin/compose-store.ts';
import { loadSecretKey } from '../../src/bin/keys.ts';
import { FolderBlobStore } from '../../src/blob/folder-blob-store.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { countUnarchived } from '../../src/log/archive-rows.ts';
import { isFinal, type Phase } from '../../src/model/phase.ts';
import { UrlSigner } from '../../src/upload/url-signer.ts';
import { Cluster, settings } from './cluster.ts';
import { FaultMaker } from './fault-maker.ts';
import { FinalCheck } from './final-check.ts';
import { Load } from './load.ts';
import { processesOf } from './process-list.ts';
import { ChaosFailure, replayOf } from './replay.ts';
import { reportOn } from './report.ts';
import { Sampler } from './sampler.ts';
import type { Schedule } from './schedule.ts';
import { SealedLogs } from './sealed-logs.ts';
import type { Violation } from './violation.ts';

export interface ChaosResult {
  readonly violations: readonly Violation[];
  /** Rows, logs and events of the builds that something is wrong with; empty when nothing is. */
  readonly report: string;
  readonly phases: Readonly<Record<string, number>>;
  /** Builds that a newer one of the same thing came in place of. */
  readonly superseded: number;
  readonly attempts: number;
  /** Builds whose log was archived, and of those the ones that were read before they were. */
  readonly archived: number;
  readonly sealedBefore: number;
  /** Workers that registered, by what carried them out. */
  readonly bodies: Readonly<Record<'agent' | 'process' | 'reference', number>>;
  readonly mostProcesses: number;
  readonly mostRunning: number;
  readonly samples: number;
  readonly seconds: number;
}

/** Once nothing is disturbed any more, a build ends at least this often, in milliseconds, until all have ended. */
const settleStep = 60_000;
const stopLimit = 30_000;
/** A manager that dies while it archives a log holds that for a lease of a minute, and until the next look. */
const archiveStep = 120_000;
/** Milliseconds over the schedule that a run may take in all, whatever hangs. */
const runLimit = 400_000;

export interface ChaosOptions {
  readonly say: (line: string) => void;
  /** Ends the run; it then rejects. */
  readonly signal: AbortSignal;
}

/**
 * One run of a schedule: disturb, let everything settle, check. Nothing of it is left when this returns or throws. How to
 * run it again is printed first, and is in the ChaosFailure that it rejects with: whatever happens, it is known.
 */
export async function runChaos(schedule: Schedule, options: ChaosOptions): Promise<ChaosResult> {
  const replay = replayOf(schedule.seed, schedule.size);
  process.stdout.write(`seed ${schedule.seed} (again: ${replay})\n`);
  try {
    return await disturbAndCheck(schedule, options);
  } catch (thrown) {
    throw new ChaosFailure(replay, thrown);
  }
}

async function disturbAndCheck(
  schedule: Schedule,
  { say, signal: given }: ChaosOptions,
): Promise<ChaosResult> {
  const begun = performance.now();
  const violations: Violation[] = [];
  const violate = (invariant: Violation['invariant'], what: string, buildId?: string) => {
    violations.push({ invariant, what, ...(buildId === undefined ? {} : { buildId }) });
    say(`VIOLATED ${invariant} ${buildId ?? ''}: ${what}`);
  };
  await using cluster = await Cluster.open(schedule);
  say(`the cluster runs after ${seconds(begun)} s: ${cluster.folder}`);
  const blobs = new FolderBlobStore({ folder: cluster.blobs, shared: true });
  const { log } = composeStore({
    database: cluster.database,
    blobs,
    archives: new FolderBlobStore({ folder: cluster.archives, shared: true }),
    secretBox: new SecretBox({ key: await loadSecretKey(cluster.keys, 'database-secret-key') }),
    signer: new UrlSigner(await loadSecretKey(cluster.keys, 'url-signing-key'), clock),
    clock,
    logger: pino({ level: 'silent' }),
  });
  const over = new AbortController();
  const signal = AbortSignal.any([over.signal, given, AbortSignal.timeout(schedule.duration + runLimit)]);
  const sealed = new SealedLogs(log);
  const sampler = new Sampler(cluster, { capacity: settings.allowedWorkerCount, sealed, violate });
  const sampling = sampler.run(signal);
  const load = new Load(cluster, schedule);
  const faults = new FaultMaker(cluster, schedule, say);
  try {
    const loading = load.run(signal);
    // Its end is waited for below; until then a failure of it is nobody's.
    loading.catch(() => {});
    await faults.run(signal);
    say(`the last fault is over after ${seconds(begun)} s`);
    let answered = false;
    loading.then(
      () => {
        answered = true;
      },
      () => {},
    );
    await settled(cluster, schedule.builds.length, say, signal);
    if (!answered) violate('I1', `not every request was answered: ${load.lastTrouble}`);
    say(`everything has settled after ${seconds(begun)} s`);
    await sampler.sample();
    await archivedAll(cluster, signal);
    say(`every log is archived after ${seconds(begun)} s`);
    for (const host of cluster.hosts.keys()) {
      const left = await untilNoWorkers(cluster, host);
      if (left.length > 0)
        violate('I4', `host ${host} still has workers: ${JSON.stringify(left)}`, left[0]?.buildId);
    }
    await new FinalCheck({
      cluster,
      schedule,
      load,
      log,
      sealed,
      disturbances: faults.disturbances,
      sampler,
      violate,
    }).run();
    for (const failure of [...load.failures, ...faults.failures]) violate('processes', failure);
    for (const crash of cluster.crashes) violate('processes', crash);
    for (const manager of [...cluster.managers, ...cluster.hosts]) {
      if (!(await manager.retire(stopLimit)))
        violate('processes', `${manager.name} did not end in order: ${manager.lastWords()}`);
    }
    for (const left of await processesOf(cluster.mark, cluster.folder))
      violate('processes', `a process is left: ${left.pid} ${left.command}`);
    const report = violations.length === 0 ? '' : await reportOn(violations, cluster, log);
    return {
      ...(await countsOf(cluster)),
      ...pick(sampler),
      sealedBefore: sealed.beforeArchive,
      violations,
      report,
      seconds: seconds(begun),
    };
  } finally {
    over.abort();
    await sampling;
  }
}

/** Resolves when every build is final and its log closed, or when nothing has moved for too long. */
async function settled(
  cluster: Cluster,
  builds: number,
  say: ChaosOptions['say'],
  signal: AbortSignal,
): Promise<void> {
  let known = '';
  for (let moved = performance.now(); performance.now() - moved < settleStep; ) {
    const rows = await cluster.database.sql
      .selectFrom('builds')
      .leftJoin('log_heads', 'log_heads.build_id', 'builds.id')
      .select(['builds.phase', 'log_heads.closed_at'])
      .execute();
    const final = rows.filter(({ phase }) => isFinal(phase as Phase));
    const closed = final.filter(({ closed_at }) => closed_at !== null);
    if (closed.length >= builds) return;
    const now = `${rows.length} ${final.length} ${closed.length}`;
    if (now !== known) {
      moved = performance.now();
      say(`of ${builds} builds ${rows.length} are there, ${final.length} final, ${closed.length} closed`);
    }
    known = now;
    await sleep(500, undefined, { signal });
  }
}

/** Resolves when the logs of all builds are in the archive, or when none has come for too long. */
async function archivedAll(cluster: Cluster, signal: AbortSignal): Promise<void> {
  let known = -1;
  for (let moved = performance.now(); performance.now() - moved < archiveStep; ) {
    const left = await countUnarchived(cluster.database);
    if (left === 0) return;
    if (left !== known) moved = performance.now();
    known = left;
    await sleep(500, undefined, { signal });
  }
}

/** Workers that are left of a host a while after the end of the builds. */
async function untilNoWorkers(cluster: Cluster, host: number) {
  for (const deadline = Date.now() + 30_000; ; await sleep(500)) {
    const workers = (await cluster.workersOn(host)) ?? [];
    if (workers.length === 0 || Date.now() > deadline) return workers;
  }
}

async function countsOf({ database }: Cluster) {
  const builds = await database.sql.selectFrom('builds').select(['phase', 'superseded_by']).execute();
  const attempts = await database.sql.selectFrom('attempts').select(['capabilities_json']).execute();
  const { archived } = await database.sql
    .selectFrom('log_heads')
    .select((of) => of.fn.count<number>('archived_at').as('archived'))
    .executeTakeFirstOrThrow();
  const bodies = { agent: 0, process: 0, reference: 0 };
  for (const { capabilities_json } of attempts) {
    if (capabilities_json !== null) bodies[bodyOf(JSON.parse(capabilities_json))] += 1;
  }
  const phases = Object.fromEntries(
    [...Map.groupBy(builds, ({ phase }) => phase)].map(([phase, rows]) => [phase, rows.length]),
  );
  const superseded = builds.filter(({ superseded_by }) => superseded_by !== null).length;
  return { phases, superseded, attempts: attempts.length, archived: Number(archived), bodies };
}

/** By what a worker said of itself when it registered. */
function bodyOf({ version }: { readonly version?: string }): keyof ChaosResult['bodies'] {
  if (version === undefined) return 'reference';
  return version === 'chaos-process' ? 'process' : 'agent';
}

function pick({ samples, mostRunning, mostProcesses }: Sampler) {
  return { samples, mostRunning, mostProcesses };
}

function seconds(since: number): number {
  return Math.round((performance.now() - since) / 1000);
}
