import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/**
 * Whether the source of a trigger was looked at before, which an empty one does not show otherwise; up to which delivery
 * what is remembered of a ref holds; and until when somebody tells a host how a build goes.
 */
export async function whatLooksRemember(db: Kysely<unknown>, { int }: ColumnTypes): Promise<void> {
  const statements = [
    `alter table triggers add column refs_known ${int} not null default 0`,
    `update triggers set refs_known = 1 where exists (
      select 1 from trigger_refs where trigger_refs.trigger_id = triggers.id)`,
    `alter table trigger_refs add column heard ${int} not null default 0`,
    `update trigger_refs set heard = coalesce((
      select max(d.number) from trigger_deliveries as d where d.trigger_id = trigger_refs.trigger_id), 0)`,
    `alter table host_reports add column taken_until ${int}`,
    `create index host_reports_of_commit on host_reports (trigger_id, commit_sha)`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
