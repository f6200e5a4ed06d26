import { sql as text } from 'kysely';
import type { Sql } from '../db/database.ts';
import { AccountError } from './account-error.ts';

const span = 3_600_000;
/** Tokens that one user, or one namespace for its robots, may make in that span. */
const most = 100;

/**
 * Counts a token that is about to be made, in the transaction that makes it. Throws AccountError `too-often`; what is
 * thrown there undoes the counting, so that the count stays where it is until its span is over.
 */
export async function takeTokenTurn(sql: Sql, owner: string, now: number): Promise<void> {
  const over = text<boolean>`${now} - token_turns.since >= ${span}`;
  const { count } = await sql
    .insertInto('token_turns')
    .values({ owner, since: now, count: 1 })
    .onConflict((on) =>
      on.column('owner').doUpdateSet({
        since: text<number>`case when ${over} then excluded.since else token_turns.since end`,
        count: text<number>`case when ${over} then 1 else token_turns.count + 1 end`,
      }),
    )
    .returning('count')
    .executeTakeFirstOrThrow();
  if (count > most)
    throw new AccountError(
      'too-often',
      `${most} tokens were made for ${owner} within an hour. Use one of them, or wait before you make the next one.`,
    );
}
