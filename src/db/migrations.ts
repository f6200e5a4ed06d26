import { type Kysely, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import { messageOf } from '../base/coded-error.ts';
import type { ColumnTypes, DialectName } from './column-types.ts';
import { first } from './migrations/0001-first.ts';
import { managers } from './migrations/0002-managers.ts';
import { archives } from './migrations/0003-archives.ts';
import { audit } from './migrations/0004-audit.ts';
import { loggedStages } from './migrations/0005-logged-stages.ts';
import { appendFunction } from './migrations/0006-append-function.ts';
import { registrations } from './migrations/0007-registrations.ts';
import { waits } from './migrations/0008-waits.ts';
import { sessions } from './migrations/0009-sessions.ts';
import { accounts } from './migrations/0010-accounts.ts';
import { registries } from './migrations/0011-registries.ts';
import { gitHostKeys } from './migrations/0012-git-host-keys.ts';
import { triggers } from './migrations/0013-triggers.ts';
import { knownNetworks } from './migrations/0015-known-networks.ts';
import { whatLooksRemember } from './migrations/0016-what-looks-remember.ts';
import { remains } from './migrations/0017-remains.ts';
import { executorStates } from './migrations/0018-executor-states.ts';
import { nameMarks } from './migrations/0019-name-marks.ts';
import { pastDeliveries } from './migrations/0020-past-deliveries.ts';
import { admitTogether } from './migrations/0021-admit-together.ts';
import { SqlError } from './sql-error.ts';

export const columnTypes: Readonly<Record<DialectName, ColumnTypes>> = {
  sqlite: {
    int: 'integer',
    real: 'real',
    bytes: 'blob',
    text: 'text',
    serial: 'integer primary key autoincrement',
    end: 'strict',
  },
  postgres: {
    int: 'bigint',
    real: 'double precision',
    bytes: 'bytea',
    text: 'text collate "C"',
    serial: 'bigint generated always as identity primary key',
    end: '',
  },
};

const steps: Readonly<
  Record<string, (db: Kysely<unknown>, types: ColumnTypes, dialect: DialectName) => Promise<void>>
> = {
  '0001-first': first,
  '0002-managers': managers,
  '0003-archives': archives,
  '0004-audit': audit,
  '0005-logged-stages': loggedStages,
  '0006-append-function': appendFunction,
  '0007-registrations': registrations,
  '0008-waits': waits,
  '0009-sessions': sessions,
  '0010-accounts': accounts,
  '0011-registries': registries,
  '0012-git-host-keys': gitHostKeys,
  '0013-triggers': triggers,
  '0015-known-networks': knownNetworks,
  '0016-what-looks-remember': whatLooksRemember,
  '0017-remains': remains,
  '0018-executor-states': executorStates,
  '0019-name-marks': nameMarks,
  '0020-past-deliveries': pastDeliveries,
  '0021-admit-together': admitTogether,
};

const table = 'schema_migrations';

/** Brings the schema up to date; several managers may start at once. Throws SqlError `newer-schema`. */
export async function migrate(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  await refuseNewer(db);
  const migrations: Record<string, Migration> = {};
  for (const [name, up] of Object.entries(steps)) {
    migrations[name] = { up: (inner) => up(inner, columnTypes[dialect], dialect) };
  }
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: table,
    migrationLockTableName: `${table}_lock`,
  });
  const { error } = await migrator.migrateToLatest();
  if (error instanceof SqlError) throw error;
  if (error !== undefined) {
    throw new SqlError('failed', `The database schema could not be set up (${messageOf(error)}).`, error);
  }
}

async function refuseNewer(db: Kysely<unknown>): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some(({ name }) => name === table)) return;
  const { rows } = await sql<{ name: string }>`select name from ${sql.table(table)} order by name`.execute(
    db,
  );
  const unknown = rows.map(({ name }) => name).filter((name) => !Object.hasOwn(steps, name));
  if (unknown.length === 0) return;
  throw new SqlError(
    'newer-schema',
    `The database was made by a later version of Slipway (it has the schema steps ${unknown.join(', ')}, which this version does not know). Nothing was changed. Run that version or a later one, or use another database.`,
  );
}
