import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** Build triggers, what was delivered to them, what they tell hosts and people, and which builds are theirs. */
export async function triggers(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  const { int, text, bytes, serial, end } = types;
  const statements = [
    `alter table builds add column trigger_id text`,
    `create index builds_of_trigger on builds (trigger_id, number) where trigger_id is not null`,

    `create table triggers (
      id text primary key,
      namespace ${text} not null,
      repository ${text} not null,
      service text not null,
      active ${int} not null default 0,
      enabled ${int} not null default 1,
      disabled_reason text,
      disabled_at ${int},
      config_json text,
      connected_user ${text},
      pull_robot ${text},
      public_key text,
      auth_token_sealed ${bytes},
      private_key_sealed ${bytes},
      webhook_secret_sealed ${bytes},
      write_token_sealed ${bytes},
      counted_from ${int} not null default 0,
      cron_at ${int},
      poll_at ${int},
      poll_failures ${int} not null default 0,
      created_at ${int} not null,
      check ((enabled = 1) = (disabled_reason is null)),
      check (active = 0 or config_json is not null),
      foreign key (namespace, repository) references repositories (namespace, name) on delete cascade
    ) ${end}`,
    `create index triggers_of_repository on triggers (namespace, repository, created_at)`,
    `create index triggers_of_user on triggers (connected_user)`,
    `create index triggers_of_robot on triggers (pull_robot) where pull_robot is not null`,
    `create index triggers_by_cron on triggers (cron_at) where cron_at is not null`,
    `create index triggers_by_poll on triggers (poll_at) where poll_at is not null`,

    `create table trigger_secrets (
      trigger_id text not null references triggers (id) on delete cascade,
      id ${text} not null,
      sealed ${bytes} not null,
      changed_at ${int} not null,
      primary key (trigger_id, id)
    ) ${end}`,

    `create table trigger_deliveries (
      number ${serial},
      id text not null unique,
      trigger_id text not null references triggers (id) on delete cascade,
      delivery_key text not null,
      name ${text},
      came_by text not null check (came_by in ('hook', 'poll', 'cron', 'person')),
      received_at ${int} not null,
      repeats ${int} not null default 0,
      event text,
      ref ${text} not null default '',
      commit_sha text,
      event_json text,
      redelivery_of text,
      asked_by ${text},
      trace_parent text,
      outcome text not null check (outcome in ('waiting', 'queued', 'skipped', 'refused', 'failed')),
      reason text,
      build_id text,
      due_at ${int} not null,
      tries ${int} not null default 0
    ) ${end}`,
    `create unique index deliveries_by_key on trigger_deliveries (trigger_id, delivery_key)`,
    `create unique index deliveries_by_name on trigger_deliveries (trigger_id, name) where name is not null`,
    `create index deliveries_of_trigger on trigger_deliveries (trigger_id, number)`,
    `create index deliveries_of_ref on trigger_deliveries (trigger_id, ref, number)`,
    `create index deliveries_waiting on trigger_deliveries (due_at, number) where outcome = 'waiting'`,
    `create index deliveries_in_order on trigger_deliveries (trigger_id, ref, number) where outcome = 'waiting'`,
    `create index deliveries_by_age on trigger_deliveries (received_at)`,

    `create table trigger_refs (
      trigger_id text not null references triggers (id) on delete cascade,
      ref ${text} not null,
      commit_sha text not null,
      suspect_sha text,
      primary key (trigger_id, ref)
    ) ${end}`,

    `create table host_reports (
      build_id text primary key,
      trigger_id text not null references triggers (id) on delete cascade,
      commit_sha text not null,
      sent text,
      context ${text},
      due_at ${int} not null,
      tries ${int} not null default 0,
      created_at ${int} not null
    ) ${end}`,
    `create index host_reports_due on host_reports (due_at)`,

    `create table notices (
      number ${serial},
      id text not null unique,
      namespace ${text} not null,
      repository ${text} not null,
      trigger_id text references triggers (id) on delete cascade,
      kind text not null,
      message text not null,
      created_at ${int} not null,
      dismissed_at ${int},
      dismissed_by ${text},
      foreign key (namespace, repository) references repositories (namespace, name) on delete cascade
    ) ${end}`,
    `create index notices_open on notices (namespace, repository, number) where dismissed_at is null`,
    `create index notices_of_trigger on notices (trigger_id)`,
    `create index host_reports_of_trigger on host_reports (trigger_id)`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
