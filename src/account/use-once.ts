import type { Database } from '../db/database.ts';

const sweptAtOnce = 200;

/** Whether nobody has used this before, at any server; `hash` is of what may be used once, and is forgotten at `forgetAt`. */
export async function useOnce(
  { sql }: Database,
  { hash, forgetAt, now }: { readonly hash: string; readonly forgetAt: number; readonly now: number },
): Promise<boolean> {
  await sql
    .deleteFrom('used_logins')
    .where('hash', 'in', (from) =>
      from
        .selectFrom('used_logins')
        .select('hash')
        .where('forget_at', '<=', now)
        .orderBy('forget_at')
        .limit(sweptAtOnce),
    )
    .execute();
  const { numInsertedOrUpdatedRows = 0n } = await sql
    .insertInto('used_logins')
    .values({ hash, forget_at: forgetAt })
    .onConflict((conflict) => conflict.column('hash').doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows > 0n;
}
