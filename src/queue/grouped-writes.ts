import { sql } from 'kysely';
import type { Sql } from '../db/database.ts';
import { among, type RowSetColumn, rowSet } from '../db/row-set.ts';
import type { AttemptId } from '../model/ids.ts';
import type { QueueStatements } from './queue-statements.ts';

/** A change of an attempt that moves nothing: it is a single statement for any number of attempts. */
export interface WorkerRecord {
  readonly id: AttemptId;
  readonly epoch: number;
  readonly executor: string;
  readonly worker: string;
}

export interface LeaseExtension {
  readonly id: AttemptId;
  readonly epoch: number;
  readonly manager: string;
  readonly until: number;
}

export interface Hearing {
  readonly id: AttemptId;
  readonly epoch: number;
  readonly registration: number;
}

/** Which of them were current, in order. */
export async function recordWorkers(
  db: Sql,
  statements: QueueStatements,
  records: readonly WorkerRecord[],
): Promise<readonly boolean[]> {
  const columns = { id: 'text', epoch: 'int', executor: 'text', worker: 'text' } as const;
  const held = holdRunning(statements, columns, records, sql`new.executor, new.worker`, sql`true`);
  const these = amongThem(statements, 'attempts.id', records);
  const { rows } = await sql<{ id: string }>`
    update attempts set executor = held.executor, worker = held.worker
    from (${held}) as held where ${these} and attempts.id = held.id returning attempts.id as id
  `.execute(db);
  return found(rows, records);
}

export async function extendLeases(
  db: Sql,
  statements: QueueStatements,
  leases: readonly LeaseExtension[],
): Promise<readonly boolean[]> {
  const columns = { id: 'text', epoch: 'int', manager: 'text', until: 'int' } as const;
  const held = holdRunning(statements, columns, leases, sql`new.until`, sql`old.manager = new.manager`);
  const these = amongThem(statements, 'attempts.id', leases);
  const { rows } = await sql<{ id: string }>`
    update attempts set lease_until = held.until
    from (${held}) as held where ${these} and attempts.id = held.id returning attempts.id as id
  `.execute(db);
  return found(rows, leases);
}

/** Whose the attempts are, in order: the first registration that was heard keeps them. Undefined: not current. */
export async function hearWorkers(
  db: Sql,
  statements: QueueStatements,
  hearings: readonly Hearing[],
): Promise<readonly (number | undefined)[]> {
  const columns = { id: 'text', epoch: 'int', registration: 'int' } as const;
  const held = holdRunning(
    statements,
    columns,
    hearings,
    sql`new.registration`,
    // A token for calls is an answer to a registration.
    sql`old.state <> ${sql.lit('scheduled')}`,
  );
  const these = amongThem(statements, 'attempts.id', hearings);
  const { rows } = await sql<{ id: string; heard: number }>`
    update attempts set heard = case when attempts.heard = 0 then held.registration else attempts.heard end
    from (${held}) as held where ${these} and attempts.id = held.id returning attempts.id as id, attempts.heard as heard
  `.execute(db);
  const heard = new Map(rows.map((row) => [row.id, row.heard]));
  return hearings.map(({ id }) => heard.get(id));
}

/** The attempts that somebody has under these epochs, locked in the order of their ids as everybody locks several. */
function holdRunning<Columns extends Readonly<Record<string, RowSetColumn>> & { readonly id: 'text' }>(
  statements: QueueStatements,
  columns: Columns,
  rows: readonly ({ readonly [name in keyof Columns]: string | number | null } & { readonly id: string })[],
  taken: ReturnType<typeof sql>,
  condition: ReturnType<typeof sql>,
) {
  const { dialect } = statements;
  const lock = dialect === 'postgres' ? sql`order by old.id for update of old` : sql``;
  return sql`
    select old.id, ${taken} from attempts as old
    join ${rowSet(dialect, 'new', columns, rows)} on old.id = new.id
    where ${amongThem(statements, 'old.id', rows)} and old.epoch = new.epoch and old.lease_until is not null and ${condition} ${lock}
  `;
}

/** Said besides the join: without it PostgreSQL may read the whole index to find a few rows of it. */
function amongThem({ dialect }: QueueStatements, column: string, rows: readonly { readonly id: string }[]) {
  return among(
    dialect,
    column,
    rows.map(({ id }) => id),
  );
}

function found(
  rows: readonly { id: string }[],
  asked: readonly { readonly id: string }[],
): readonly boolean[] {
  const ids = new Set(rows.map(({ id }) => id));
  return asked.map(({ id }) => ids.has(id));
}
