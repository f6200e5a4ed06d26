import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, DialectName } from '../column-types.ts';

/**
 * People who are signed in with a browser, and by whom else they are known. The database itself ends the sessions of who
 * gets another password or is switched off, whatever part of the program does that.
 */
export async function sessions(db: Kysely<unknown>, types: ColumnTypes, dialect: DialectName): Promise<void> {
  const { int, text, end } = types;
  const statements = [
    `create table sessions (
      id text primary key,
      hash text not null unique,
      username ${text} not null references users (username) on delete cascade,
      way text not null,
      created_at ${int} not null,
      last_used_at ${int} not null,
      ends_at ${int} not null,
      expires_at ${int} not null,
      address text,
      user_agent text
    ) ${end}`,
    `create index sessions_of_user on sessions (username, created_at)`,
    `create index sessions_by_end on sessions (ends_at)`,
    `create table external_identities (
      id text primary key,
      issuer text not null,
      subject text not null,
      username ${text} not null references users (username) on delete cascade,
      provider text not null,
      label text not null,
      created_at ${int} not null,
      last_used_at ${int},
      unique (issuer, subject)
    ) ${end}`,
    `create index external_identities_of_user on external_identities (username, created_at)`,
    `create table used_logins (
      hash text primary key,
      forget_at ${int} not null
    ) ${end}`,
    `create index used_logins_by_age on used_logins (forget_at)`,
    ...endings[dialect],
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const endings: Readonly<Record<DialectName, readonly string[]>> = {
  sqlite: [
    `create trigger users_end_sessions after update of password_hash, disabled on users
      when old.password_hash <> new.password_hash or new.disabled <> 0
      begin delete from sessions where username = new.username; end`,
  ],
  postgres: [
    `create function users_end_sessions() returns trigger language plpgsql as
      $$ begin delete from sessions where username = new.username; return null; end $$`,
    `create trigger users_end_sessions after update of password_hash, disabled on users
      for each row when (old.password_hash <> new.password_hash or new.disabled <> 0)
      execute function users_end_sessions()`,
  ],
};
