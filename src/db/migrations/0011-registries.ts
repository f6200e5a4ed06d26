import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** Registries of namespaces outside of Slipway, which repositories publish to them, and where images were published. */
export async function registries(db: Kysely<unknown>, { int, text, bytes, end }: ColumnTypes): Promise<void> {
  const statements = [
    `create table registries (
      namespace ${text} not null references namespaces (name) on delete cascade,
      name ${text} not null,
      host text not null,
      insecure ${int} not null check (insecure in (0, 1)),
      prefix text not null,
      username text not null,
      password_sealed ${bytes} not null,
      ca text,
      push ${int} not null check (push in (0, 1)),
      pull ${int} not null check (pull in (0, 1)),
      created_at ${int} not null,
      changed_at ${int} not null,
      primary key (namespace, name),
      check (push + pull > 0)
    ) ${end}`,
    `create table repository_targets (
      namespace ${text} not null,
      repository ${text} not null,
      registry ${text} not null,
      path text not null,
      primary key (namespace, repository),
      foreign key (namespace, repository) references repositories (namespace, name) on delete cascade,
      foreign key (namespace, registry) references registries (namespace, name)
    ) ${end}`,
    `create unique index targets_of_registry on repository_targets (namespace, registry, path)`,
    `alter table builds add column published_json text`,

    // A registry lists its tags only. What else was pushed has to be known, to be removed with its repository.
    `create table registry_manifests (
      repository ${text} not null,
      digest ${text} not null,
      primary key (repository, digest)
    ) ${end}`,
    `insert into registry_manifests (repository, digest)
      select repository, digest from registry_pushes
      union
      select namespace || '/' || repository, digest from builds where digest is not null`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
