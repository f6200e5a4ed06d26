import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** What all managers know of the executors: which take no orders, how each manager finds them, and workers on trial. */
export async function executorStates(db: Kysely<unknown>, { int, text, end }: ColumnTypes): Promise<void> {
  const statements = [
    `create table executor_states (
      name ${text} not null primary key,
      state text not null,
      changed_at ${int} not null,
      changed_by text not null
    ) ${end}`,
    `create table executor_reports (
      manager ${text} not null primary key,
      reported_at ${int} not null,
      report_json text not null
    ) ${end}`,
    `create table worker_trials (
      attempt_id ${text} not null primary key,
      begun_at ${int} not null,
      registered_at ${int}
    ) ${end}`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
