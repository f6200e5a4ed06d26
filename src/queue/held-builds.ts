import { type RawBuilder, sql } from 'kysely';
import type { DialectName } from '../db/column-types.ts';
import { sendAhead } from '../db/pipeline.ts';
import { among, type RowSetColumn, rowSet } from '../db/row-set.ts';
import type { Row } from '../db/schema.ts';
import type { Build } from '../model/build.ts';
import { isFinal } from '../model/phase.ts';
import { admitAndRead } from './admit-waiting.ts';
import { phaseOf } from './build-rows.ts';
import { buildColumns, type HeldBuild, type HeldBuildRow, type HeldJob } from './held-build.ts';
import { type SettledPhase, settledPhase } from './settled-phase.ts';
import type { Step } from './step.ts';

/** All of an attempt that may change but what is written by itself: what the log counts, registrations, who was heard. */
const attemptColumns = {
  id: 'text',
  state: 'text',
  ready: 'int',
  available_at: 'int',
  delayed_at: 'int',
  desired: 'text',
  cancelled_by: 'text',
  outcome_json: 'text',
  executor: 'text',
  worker: 'text',
  manager: 'text',
  lease_until: 'int',
  capabilities_json: 'text',
  reports_json: 'text',
  scheduled_at: 'int',
  registered_at: 'int',
  unpacking_at: 'int',
  pulling_at: 'int',
  building_at: 'int',
  pushing_at: 'int',
  done_at: 'int',
} as const satisfies Readonly<Partial<Record<keyof Row<'attempts'>, RowSetColumn>>>;

const jobColumns = { id: 'text', tries_left: 'int', attempt_id: 'text' } as const;

/** A job with its attempt, as they are read together. */
type Part = Row<'attempts'> &
  Pick<Row<'jobs'>, 'ordinal' | 'platform' | 'tries_left'> & { readonly of_job: string };

/** An attempt that somebody has (neither waiting nor over), with what it belongs to. */
export interface HeldAttempt {
  readonly builds: HeldBuilds;
  readonly build: HeldBuild;
  readonly job: HeldJob;
  readonly attempt: Row<'attempts'>;
}

/** Who cancels what is left of a build that is final for another reason. */
const ourselves = 'slipway';

/**
 * Builds in the hands of one transaction: locked and read at once, changed here in memory, and written at once, so that
 * a transaction costs the same number of statements however many builds it changes.
 *
 *     hold → change, settle, …  → write
 *
 * The locks are those of queue-statements.ts, in that order, and then the attempts in the order of their ids, as
 * everybody else takes those.
 */
export class HeldBuilds {
  readonly #step: Step;
  readonly #builds = new Map<string, HeldBuild>();
  readonly #attempts = new Map<string, HeldAttempt>();
  readonly #changedBuilds = new Set<HeldBuildRow>();
  readonly #changedJobs = new Set<HeldJob>();
  readonly #changedAttempts = new Set<Row<'attempts'>>();
  readonly #made: Row<'attempts'>[] = [];
  readonly #final: HeldBuildRow[] = [];
  readonly #answered = new Set<HeldBuildRow>();

  private constructor(step: Step) {
    this.#step = step;
  }

  /** By ids of builds. `locked`: the caller has their locks already. */
  static async hold(step: Step, buildIds: readonly string[], locked = false): Promise<HeldBuilds> {
    const held = new HeldBuilds(step);
    if (buildIds.length > 0) await held.#read([...new Set(buildIds)], locked);
    return held;
  }

  /**
   * Those that the attempts belong to. `mayEndBuild`: their namespaces are held too, so that places may be given. What
   * is not there is not held.
   */
  static async ofAttempts(
    step: Step,
    attemptIds: readonly string[],
    { mayEndBuild }: { readonly mayEndBuild: boolean },
  ): Promise<HeldBuilds> {
    if (step.statements.dialect === 'postgres') {
      return HeldBuilds.#ofFunction(step, sql`${attemptIds}::text[], null, ${mayEndBuild}`);
    }
    const found = await step.sql
      .selectFrom('attempts')
      .select(['build_id', 'namespace'])
      .where(among(step.statements.dialect, 'id', attemptIds))
      .where('lease_until', 'is not', null)
      .execute();
    if (mayEndBuild) {
      await step.statements.lockNamespaces(step.sql, [...new Set(found.map(({ namespace }) => namespace))]);
    }
    return HeldBuilds.hold(
      step,
      found.map(({ build_id }) => build_id),
    );
  }

  /** As `ofAttempts` with `mayEndBuild`, by ids of builds. */
  static async toEnd(step: Step, buildIds: readonly string[]): Promise<HeldBuilds> {
    if (step.statements.dialect === 'postgres') {
      return HeldBuilds.#ofFunction(step, sql`null, ${buildIds}::text[], true`);
    }
    const found = await step.sql
      .selectFrom('builds')
      .select(['id', 'namespace'])
      .where(among(step.statements.dialect, 'id', buildIds))
      .execute();
    await step.statements.lockNamespaces(step.sql, [...new Set(found.map(({ namespace }) => namespace))]);
    return HeldBuilds.hold(
      step,
      found.map(({ id }) => id),
    );
  }

  /** All of it in one round trip (src/db/migrations/0002-managers.ts). */
  static async #ofFunction(step: Step, given: RawBuilder<unknown>): Promise<HeldBuilds> {
    const { rows } = await sql<{ builds: readonly HeldBuildRow[] | null; parts: readonly Part[] | null }>`
      select * from slipway_hold(${given})
    `.execute(step.sql);
    const held = new HeldBuilds(step);
    held.#keep(rows[0]?.builds ?? [], rows[0]?.parts ?? []);
    return held;
  }

  async #read(ids: readonly string[], locked: boolean): Promise<void> {
    const { sql: db, statements } = this.#step;
    const lock = !locked && statements.dialect === 'postgres';
    const rows = await db
      .selectFrom('builds')
      .select(['namespace', 'repository', 'priority', ...namesOf(buildColumns)])
      .select(
        sql<number>`case when ${requested(statements.dialect, 'push')} = 'false' then 0 else 1 end`.as(
          'pushes',
        ),
      )
      .where(among(statements.dialect, 'id', ids))
      .orderBy('id')
      .$if(lock, (query) => query.forUpdate())
      .execute();
    // Not in the same statement: it must see what was committed while the builds were waited for.
    const parts = await db
      .selectFrom('jobs')
      .innerJoin('attempts', 'attempts.id', 'jobs.attempt_id')
      .selectAll('attempts')
      .select(['jobs.id as of_job', 'jobs.ordinal', 'jobs.platform', 'jobs.tries_left'])
      .where(among(statements.dialect, 'jobs.build_id', ids))
      .orderBy('attempts.id')
      .$if(lock, (query) => query.forUpdate('attempts'))
      .execute();
    this.#keep(rows, parts);
  }

  #keep(rows: readonly HeldBuildRow[], parts: readonly Part[]): void {
    const jobsOf = Map.groupBy(parts, ({ build_id }) => build_id);
    for (const row of rows) {
      const jobs = (jobsOf.get(row.id) ?? [])
        .map(({ of_job, ordinal, platform, tries_left, ...attempt }): HeldJob => {
          const { id, build_id } = attempt;
          return { id: of_job, build_id, ordinal, platform, tries_left, attempt_id: id, attempt };
        })
        .sort((a, b) => a.ordinal - b.ordinal);
      const build: HeldBuild = { row, jobs };
      this.#builds.set(row.id, build);
      for (const job of jobs) {
        this.#attempts.set(job.attempt_id, { builds: this, build, job, attempt: job.attempt });
      }
    }
  }

  build(id: string): HeldBuild | undefined {
    return this.#builds.get(id);
  }

  /** Undefined: there is none of this epoch, or nobody has it. */
  attempt(id: string, epoch: number): HeldAttempt | undefined {
    const held = this.#attempts.get(id);
    if (held === undefined || held.attempt.epoch !== epoch || held.attempt.lease_until === null)
      return undefined;
    return held;
  }

  changeBuild({ row }: HeldBuild, change: Partial<HeldBuildRow>): void {
    Object.assign(row, change);
    this.#changedBuilds.add(row);
  }

  changeAttempt(attempt: Row<'attempts'>, change: Partial<Row<'attempts'>>): void {
    Object.assign(attempt, change);
    this.#changedAttempts.add(attempt);
  }

  changeTries(job: HeldJob, triesLeft: number): void {
    job.tries_left = triesLeft;
    this.#changedJobs.add(job);
  }

  /** Another attempt takes the place of the one that is over. */
  addAttempt(job: HeldJob, attempt: Row<'attempts'>, triesLeft: number): void {
    job.attempt = attempt;
    job.attempt_id = attempt.id;
    job.tries_left = triesLeft;
    this.#changedJobs.add(job);
    this.#made.push(attempt);
  }

  endAttempt(attempt: Row<'attempts'>, outcomeJson: string): void {
    if (attempt.state === 'done') return;
    this.changeAttempt(attempt, {
      state: 'done',
      ready: 0,
      lease_until: null,
      outcome_json: outcomeJson,
      done_at: this.#step.now,
    });
  }

  /** Derives the build's phase from its jobs; to be called after every change of one of its attempts. */
  settle(build: HeldBuild): void {
    if (isFinal(phaseOf(build.row.phase))) return;
    const settled = settledPhase(build);
    if (isFinal(settled.phase)) this.#finalize(build, settled);
    else if (settled.phase !== build.row.phase) this.changeBuild(build, { phase: settled.phase });
  }

  settleAll(): void {
    for (const build of this.#builds.values()) this.settle(build);
  }

  #finalize(build: HeldBuild, { phase, fault }: SettledPhase): void {
    const { row, jobs } = build;
    const { changes, now } = this.#step;
    this.changeBuild(build, {
      phase,
      finished_at: now,
      admitted: 0,
      publisher: null,
      publish_until: null,
      fault_json: fault === undefined ? null : JSON.stringify(fault),
    });
    this.#final.push(row);
    const buildId = this.#step.buildId(row.id);
    const left = jobs.map(({ attempt }) => attempt).filter(({ state }) => state !== 'done');
    for (const attempt of left) {
      const by = attempt.cancelled_by ?? ourselves;
      if (attempt.state === 'queued') {
        this.endAttempt(attempt, JSON.stringify({ kind: 'cancelled', by }));
      } else {
        this.changeAttempt(attempt, { desired: 'cancel', cancelled_by: by });
      }
    }
    if (left.some(({ state }) => state !== 'done')) changes.push({ kind: 'cancel', buildId });
    changes.push({ kind: 'finished', buildId });
    if (!this.#answered.has(row)) changes.push({ kind: 'ended', buildId });
  }

  /** The caller's answer says when this build is final, and who gets it writes the build's end. */
  answer({ row }: HeldBuild): void {
    this.#answered.add(row);
  }

  /**
   * Writes what was changed, and gives the places of builds that got final to others. The last thing done here. The
   * builds with the ids `read` as they are then.
   */
  async write(read: readonly string[] = []): Promise<readonly Build[]> {
    const { sql: db, statements } = this.#step;
    const { dialect } = statements;
    const made = new Set(this.#made);
    const attempts = [...this.#changedAttempts].filter((attempt) => !made.has(attempt));
    const ids = this.#final.map(({ id }) => id);
    const parts: RawBuilder<unknown>[] = [];
    if (attempts.length > 0) parts.push(update(dialect, 'attempts', attemptColumns, attempts));
    if (this.#changedJobs.size > 0) {
      parts.push(update(dialect, 'jobs', jobColumns, [...this.#changedJobs]));
    }
    if (this.#changedBuilds.size > 0) {
      parts.push(update(dialect, 'builds', buildColumns, [...this.#changedBuilds]));
    }
    if (ids.length > 0) parts.push(sql`delete from build_secrets where ${among(dialect, 'build_id', ids)}`);
    if (parts.length > 0 && dialect === 'postgres') await sendAhead(db, together(parts));
    else for (const part of parts) await part.execute(db);
    if (this.#made.length > 0) await db.insertInto('attempts').values(this.#made).execute();
    return admitAndRead(this.#step, ids, read);
  }
}

/** Several statements that change different rows as one, for one round trip. */
function together(parts: readonly RawBuilder<unknown>[]): RawBuilder<unknown> {
  const named = parts.map((part, index) => sql`${sql.ref(`part_${index}`)} as (${part})`);
  return sql`with ${sql.join(named)} select 1`;
}

/** A part of a build's request, as JSON text. */
function requested(dialect: DialectName, name: string): RawBuilder<string> {
  return dialect === 'postgres'
    ? sql`request_json::json ->> ${sql.lit(name)}`
    : sql`request_json -> ${sql.lit(name)}`;
}

function namesOf<Columns extends Readonly<Record<string, RowSetColumn>>>(
  columns: Columns,
): (keyof Columns & string)[] {
  return Object.keys(columns) as (keyof Columns & string)[];
}

function update<Columns extends Readonly<Record<string, RowSetColumn>> & { readonly id: 'text' }>(
  dialect: DialectName,
  table: 'builds' | 'jobs' | 'attempts',
  columns: Columns,
  rows: readonly { readonly [name in keyof Columns]: string | number | null }[],
): RawBuilder<unknown> {
  const names = namesOf(columns);
  const cut = rows.map((row) => Object.fromEntries(names.map((name) => [name, row[name]])) as typeof row);
  // The ids a second time: without them PostgreSQL may read the whole index to find a few rows of it.
  const ids = rows.map(({ id }) => String(id));
  const set = names
    .filter((name) => name !== 'id')
    .map((name) => sql`${sql.ref(name)} = ${sql.ref(`new.${name}`)}`);
  return sql`
    update ${sql.table(table)} set ${sql.join(set)}
    from ${rowSet(dialect, 'new', columns, cut)}
    where ${sql.ref(`${table}.id`)} = ${sql.ref('new.id')} and ${among(dialect, `${table}.id`, ids)}
  `;
}
