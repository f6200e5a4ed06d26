import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, DialectName } from '../column-types.ts';

/** Who did what. The database itself refuses to change a record; only whole records go, when they are old. */
export async function audit(db: Kysely<unknown>, types: ColumnTypes, dialect: DialectName): Promise<void> {
  const { int, text, serial, end } = types;
  const statements = [
    `create table audit_records (
      number ${serial},
      at ${int} not null,
      actor_kind text not null check (actor_kind in ('anonymous', 'user', 'robot', 'worker', 'system')),
      actor ${text},
      token_id text,
      address text,
      user_agent text,
      request_id text,
      action ${text} not null,
      target_kind text,
      target ${text},
      namespace ${text},
      result text not null check (result in ('done', 'refused', 'failed')),
      reason text,
      detail_json text not null
    ) ${end}`,
    `create index audit_by_age on audit_records (at)`,
    `create index audit_by_actor on audit_records (actor, number)`,
    `create index audit_by_action on audit_records (action, number)`,
    `create index audit_by_target on audit_records (target, number)`,
    `create index audit_by_namespace on audit_records (namespace, number)`,
    ...unchangeable[dialect],
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const unchangeable: Readonly<Record<DialectName, readonly string[]>> = {
  sqlite: [
    `create trigger audit_records_stay before update on audit_records
      begin select raise(abort, 'audit records cannot be changed'); end`,
  ],
  postgres: [
    `create function audit_records_stay() returns trigger language plpgsql as
      $$ begin raise exception 'audit records cannot be changed'; end $$`,
    `create trigger audit_records_stay before update on audit_records
      for each row execute function audit_records_stay()`,
  ],
};
