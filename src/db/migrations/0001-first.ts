import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** Accounts, builds with their jobs and attempts, logs. */
export async function first(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  const { int, real, bytes, text, serial, end } = types;
  const statements = [
    `create table users (
      username ${text} primary key,
      password_hash text not null,
      email text,
      superuser ${int} not null default 0,
      disabled ${int} not null default 0,
      created_at ${int} not null
    ) ${end}`,
    `create table tokens (
      id text primary key,
      username ${text} not null references users (username) on delete cascade,
      name text not null,
      hash text not null unique,
      scopes_json text not null,
      created_at ${int} not null,
      expires_at ${int},
      last_used_at ${int}
    ) ${end}`,
    `create index tokens_of_user on tokens (username)`,
    `create table namespaces (
      name ${text} primary key,
      weight ${real} not null default 1 check (weight > 0),
      max_running ${int} check (max_running > 0),
      created_at ${int} not null
    ) ${end}`,
    `create table namespace_members (
      namespace ${text} not null references namespaces (name) on delete cascade,
      username ${text} not null references users (username) on delete cascade,
      role text not null,
      primary key (namespace, username)
    ) ${end}`,
    `create index namespaces_of_user on namespace_members (username)`,
    `create table repositories (
      namespace ${text} not null,
      name ${text} not null,
      description text not null default '',
      visibility text not null check (visibility in ('public', 'private')),
      concurrency ${int} not null default 1 check (concurrency > 0),
      created_at ${int} not null,
      primary key (namespace, name)
    ) ${end}`,
    `create table repository_permissions (
      namespace ${text} not null,
      name ${text} not null,
      username ${text} not null references users (username) on delete cascade,
      role text not null check (role in ('read', 'write', 'admin')),
      primary key (namespace, name, username),
      foreign key (namespace, name) references repositories (namespace, name) on delete cascade
    ) ${end}`,
    `create index permissions_of_user on repository_permissions (username)`,
    `create table uploads (
      id text primary key,
      username ${text} not null,
      mime_type text not null,
      blob_key text not null,
      created_at ${int} not null,
      stored_at ${int},
      size ${int},
      sha256 text,
      namespace ${text},
      repository ${text}
    ) ${end}`,
    `create index uploads_by_age on uploads (created_at)`,

    `create table builds (
      number ${serial},
      id text not null unique,
      namespace ${text} not null,
      repository ${text} not null,
      priority ${int} not null,
      request_json text not null,
      idempotency_key text,
      phase text not null,
      desired text not null default 'run' check (desired in ('run', 'cancel')),
      cancelled_by text,
      admitted ${int} not null default 0,
      verdict text check (verdict in ('published', 'publish-failed', 'cancelled')),
      created_at ${int} not null,
      started_at ${int},
      finished_at ${int},
      fault_json text,
      digest text,
      image_size ${int},
      commit_sha text,
      publisher text,
      publish_until ${int},
      check ((finished_at is null) = (phase not in ('complete', 'error', 'internalerror', 'expired', 'cancelled'))),
      check (admitted = 0 or finished_at is null)
    ) ${end}`,
    `create unique index builds_by_key on builds (namespace, repository, idempotency_key)
      where idempotency_key is not null`,
    `create index builds_of_repository on builds (namespace, repository, number)`,
    // Who waits for a place, in the order in which places are given: by repository, by namespace.
    `create index builds_for_place on builds (namespace, repository, priority desc, number)
      where admitted = 0 and finished_at is null`,
    `create index builds_for_place_of_namespace on builds (namespace, priority desc, number)
      where admitted = 0 and finished_at is null`,
    `create index builds_admitted on builds (namespace, repository) where admitted = 1`,
    `create index builds_waiting on builds (namespace) where phase = 'waiting'`,
    `create index builds_unfinished on builds (number) where finished_at is null`,
    `create index builds_unpublished on builds (publish_until) where publish_until is not null`,

    `create table jobs (
      id text primary key,
      build_id text not null references builds (id) on delete cascade,
      ordinal ${int} not null,
      platform text not null,
      tries_left ${int} not null check (tries_left >= 0),
      attempt_id text not null,
      unique (build_id, ordinal)
    ) ${end}`,
    `create table attempts (
      id text primary key,
      job_id text not null references jobs (id) on delete cascade,
      build_id text not null references builds (id) on delete cascade,
      epoch ${int} not null,
      state text not null check (state in
        ('queued', 'scheduled', 'registered', 'unpacking', 'pulling', 'building', 'pushing', 'done')),
      namespace ${text} not null,
      priority ${int} not null,
      ready ${int} not null,
      turn ${real} not null,
      available_at ${int} not null,
      desired text not null default 'run' check (desired in ('run', 'cancel')),
      cancelled_by text,
      outcome_json text,
      executor text,
      worker text,
      manager text,
      lease_until ${int},
      capabilities_json text,
      log_sequence ${int} not null default 0,
      queued_at ${int} not null,
      scheduled_at ${int},
      registered_at ${int},
      unpacking_at ${int},
      pulling_at ${int},
      building_at ${int},
      pushing_at ${int},
      done_at ${int},
      unique (job_id, epoch),
      check ((outcome_json is not null) = (state = 'done')),
      check ((lease_until is not null) = (state not in ('queued', 'done'))),
      check (ready = 0 or state = 'queued')
    ) ${end}`,
    `create index attempts_of_build on attempts (build_id)`,
    // The next to claim is the first row of this index.
    `create index attempts_ready on attempts (priority desc, turn, queued_at, id) where ready = 1`,
    `create index attempts_ready_of_namespace on attempts (namespace, priority, turn) where ready = 1`,
    `create index attempts_queued on attempts (build_id) where state = 'queued'`,
    `create index attempts_running on attempts (manager) where lease_until is not null`,
    `create table queue_clocks (priority ${int} primary key, turn ${real} not null) ${end}`,
    `create table queue_turns (
      namespace ${text} not null,
      priority ${int} not null,
      next_turn ${real} not null,
      primary key (namespace, priority)
    ) ${end}`,
    `create table build_secrets (
      build_id text not null references builds (id) on delete cascade,
      id text not null,
      sealed ${bytes} not null,
      primary key (build_id, id)
    ) ${end}`,

    `create table log_heads (
      build_id text primary key,
      total ${int} not null default 0,
      bytes ${int} not null default 0,
      closed_at ${int},
      cut_at ${int},
      after_cut_entries ${int} not null default 0,
      after_cut_bytes ${int} not null default 0,
      tail_entries ${int} not null default 0,
      tail_bytes ${int} not null default 0,
      carry ${bytes},
      carry_attempt text,
      carry_time ${int}
    ) ${end}`,
    `create table log_chunks (
      build_id text not null,
      first_index ${int} not null,
      entries ${int} not null,
      bytes ${int} not null,
      data ${bytes} not null,
      primary key (build_id, first_index)
    ) ${end}`,
    `create table log_tails (
      build_id text not null,
      position ${int} not null,
      entries ${int} not null,
      bytes ${int} not null,
      data ${bytes} not null,
      primary key (build_id, position)
    ) ${end}`,
    `create table registry_pushes (
      repository text not null,
      tag text not null,
      digest text not null,
      pusher text not null,
      pushed_at ${int} not null,
      primary key (repository, tag)
    ) ${end}`,
    `create index registry_pushes_newest on registry_pushes (repository, pushed_at)`,
    `create table settings (name text primary key, value_json text not null) ${end}`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
