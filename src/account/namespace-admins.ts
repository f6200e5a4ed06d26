import type { SqlTransaction } from '../db/database.ts';
import { AccountError } from './account-error.ts';

/**
 * Makes changes to who administers an organization one after another: without that, two that take the last two
 * administrators away could each see the other's still there. Both dialects lock a row that is written.
 */
export async function lockOrganization(sql: SqlTransaction, name: string): Promise<boolean> {
  const { numUpdatedRows } = await sql
    .updateTable('namespaces')
    .set({ kind: 'organization' })
    .where('name', '=', name)
    .where('kind', '=', 'organization')
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Throws AccountError `last-admin`; called within the transaction, after the change. */
export async function requireAdmin(sql: SqlTransaction, namespace: string): Promise<void> {
  const admin = await sql
    .selectFrom('teams')
    .innerJoin('team_members', (on) =>
      on
        .onRef('team_members.namespace', '=', 'teams.namespace')
        .onRef('team_members.team', '=', 'teams.name'),
    )
    .select('team_members.username')
    .where('teams.namespace', '=', namespace)
    .where('teams.role', '=', 'admin')
    .limit(1)
    .executeTakeFirst();
  if (admin === undefined)
    throw new AccountError(
      'last-admin',
      `Nobody would be left who administers ${namespace}. Put somebody else into a team with the role admin first.`,
    );
}
