import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** From where somebody has signed in with a password, so that a lock of the name does not keep them out there. */
export async function knownNetworks(db: Kysely<unknown>, { int, text, end }: ColumnTypes): Promise<void> {
  const statement = `create table known_networks (
    username ${text} not null references users (username) on delete cascade,
    network ${text} not null,
    last_at ${int} not null,
    primary key (username, network)
  ) ${end}`;
  await sql.raw(statement).execute(db);
}
