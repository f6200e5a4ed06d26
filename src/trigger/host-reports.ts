import { sql } from 'kysely';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { Fault } from '../model/fault.ts';
import type { Phase } from '../model/phase.ts';
import type { TriggerId } from './trigger.ts';
import { triggerIdOf } from './trigger-rows.ts';

/** A host is to be told how a build goes. */
export interface DueReport {
  readonly build: string;
  readonly triggerId: TriggerId;
  readonly commit: string;
  /** What it was told last. */
  readonly sent: string | undefined;
  /** Under which name. */
  readonly context: string | undefined;
  readonly tries: number;
  readonly createdAt: number;
  /** Undefined: the build is gone. */
  readonly phase: Phase | undefined;
  readonly finishedAt: number | undefined;
  readonly fault: Fault | undefined;
}

interface ReportRow {
  readonly build_id: string;
  readonly trigger_id: string;
  readonly commit_sha: string;
  readonly sent: string | null;
  readonly context: string | null;
  readonly tries: number;
  readonly created_at: number;
  readonly phase: string | null;
  readonly finished_at: number | null;
  readonly fault_json: string | null;
}

/** The outbox of commit statuses: one row for each build whose end the host does not know yet. */
export class HostReports {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
  }

  async follow(id: TriggerId, build: string, commit: string): Promise<void> {
    const now = this.#clock.now();
    await this.#database.sql
      .insertInto('host_reports')
      .values({ build_id: build, trigger_id: id, commit_sha: commit, due_at: now, created_at: now })
      .onConflict((on) => on.doNothing())
      .execute();
  }

  /**
   * Takes what is new to the host: builds it has not heard of, and those that have ended. Nobody else gets them for `lease`
   * milliseconds, nor another build of the same commit: the host may be slow, and what is told of one could overtake the other.
   */
  async claim(limit: number, lease: number): Promise<readonly DueReport[]> {
    const now = this.#clock.now();
    const lock = this.#database.dialect === 'postgres' ? sql`for update of r skip locked` : sql``;
    return await this.#database.transaction(async (db) => {
      const { rows } = await sql<ReportRow>`
        select r.build_id, r.trigger_id, r.commit_sha, r.sent, r.context, r.tries, r.created_at,
          b.phase, b.finished_at, b.fault_json
        from host_reports as r left join builds as b on b.id = r.build_id
        where r.due_at <= ${now} and (r.sent is null or b.finished_at is not null or b.id is null)
          and not exists (
            select 1 from host_reports as other
            where other.trigger_id = r.trigger_id and other.commit_sha = r.commit_sha
              and other.build_id <> r.build_id and other.taken_until > ${now})
        order by r.due_at limit ${limit} ${lock}
      `.execute(db);
      for (const { build_id } of rows)
        await db
          .updateTable('host_reports')
          .set({ due_at: now + lease, taken_until: now + lease, tries: sql<number>`tries + 1` })
          .where('build_id', '=', build_id)
          .execute();
      return rows.map(reportOf);
    });
  }

  /**
   * Whether no newer build of the same commit and trigger is followed. Older ones are told of no more: what the host shows
   * of a commit is how its newest build goes, whatever an older one does later.
   */
  async isNewest({ build, triggerId, commit }: DueReport): Promise<boolean> {
    const { rows } = await sql<{ build_id: string; number: number }>`
      select r.build_id, coalesce(b.number, 0) as number
      from host_reports as r left join builds as b on b.id = r.build_id
      where r.trigger_id = ${triggerId} and r.commit_sha = ${commit}
    `.execute(this.#database.sql);
    const own = rows.find(({ build_id }) => build_id === build);
    if (own === undefined) return false;
    for (const { build_id, number } of rows) if (number < own.number) await this.drop(build_id);
    return rows.every(({ number }) => number <= own.number);
  }

  /** Of one trigger: builds that the host takes to be under way, newest first. */
  async pending(id: TriggerId, limit: number): Promise<readonly DueReport[]> {
    const { rows } = await sql<ReportRow>`
      select r.build_id, r.trigger_id, r.commit_sha, r.sent, r.context, r.tries, r.created_at,
        b.phase, b.finished_at, b.fault_json
      from host_reports as r left join builds as b on b.id = r.build_id
      where r.trigger_id = ${id} and r.sent = 'pending'
      order by r.created_at desc limit ${limit}
    `.execute(this.#database.sql);
    return rows.map(reportOf);
  }

  /** How many `pending` would give without a limit. */
  async countPending(id: TriggerId): Promise<number> {
    const row = await this.#database.sql
      .selectFrom('host_reports')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('trigger_id', '=', id)
      .where('sent', '=', 'pending')
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  /** The host knows it; it is told again when the build has ended. */
  async sent(build: string, state: string, context: string): Promise<void> {
    await this.#database.sql
      .updateTable('host_reports')
      .set({ sent: state, context, tries: 0, due_at: this.#clock.now(), taken_until: null })
      .where('build_id', '=', build)
      .execute();
  }

  /** `takenUntil`: what was sent may still arrive until then. */
  async postpone(build: string, dueAt: number, takenUntil?: number): Promise<void> {
    await this.#database.sql
      .updateTable('host_reports')
      .set({ due_at: dueAt, taken_until: takenUntil ?? null })
      .where('build_id', '=', build)
      .execute();
  }

  /** There is nothing more to tell. */
  async drop(build: string): Promise<void> {
    await this.#database.sql.deleteFrom('host_reports').where('build_id', '=', build).execute();
  }
}

function reportOf(row: ReportRow): DueReport {
  return {
    build: row.build_id,
    triggerId: triggerIdOf(row.trigger_id),
    commit: row.commit_sha,
    sent: row.sent ?? undefined,
    context: row.context ?? undefined,
    tries: row.tries + 1,
    createdAt: row.created_at,
    phase: (row.phase ?? undefined) as Phase | undefined,
    finishedAt: row.finished_at ?? undefined,
    fault: row.fault_json === null ? undefined : (JSON.parse(row.fault_json) as Fault),
  };
}
