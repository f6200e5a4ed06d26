import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/**
 * What is left of what is gone.
 *
 * `made_with` is the personal token that a robot's token, or another personal one, was made with; null: a password or a
 * browser. It refers to nothing, for what was made outlives the token that is revoked, and is found by it then.
 *
 * Where a repository was, a push that began before may have left an image since: only such names have to be looked at in
 * the registry before somebody takes them.
 */
export async function remains(db: Kysely<unknown>, { text, int, end }: ColumnTypes): Promise<void> {
  for (const statement of [
    `alter table robots add column made_with ${text}`,
    `alter table tokens add column made_with ${text}`,
    'create index robots_made_with on robots (made_with)',
    `create table freed_repositories (
      namespace ${text} not null,
      name ${text} not null,
      freed_at ${int} not null,
      primary key (namespace, name)
    ) ${end}`,
    `insert into freed_repositories (namespace, name, freed_at)
      select namespace, substr(target, length(namespace) + 2), max(at) from audit_records
      where action = 'repository.delete' and result = 'done' and target like namespace || '/_%'
      group by namespace, substr(target, length(namespace) + 2)`,
  ])
    await sql.raw(statement).execute(db);
}
