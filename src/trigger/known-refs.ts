import type { Database } from '../db/database.ts';
import { noOtherLater } from './later-delivery.ts';
import type { TriggerId } from './trigger.ts';

/** What a look at the source makes of a ref. */
export type RefNews =
  | { readonly kind: 'same' }
  /** Changed, and its delivery may be on the way. */
  | { readonly kind: 'suspect' }
  /** Changed since the look before the last one, and nothing was delivered. */
  | { readonly kind: 'lost'; readonly before: string | undefined };

interface KnownRef {
  readonly commit: string;
  readonly suspect: string | undefined;
}

/** Pure: what is to be made of a ref whose commit is `now`; `known` is what is remembered of it, if anything. */
export function newsOf(known: KnownRef | undefined, now: string): RefNews {
  if (known?.commit === now) return { kind: 'same' };
  if (known?.suspect !== now) return { kind: 'suspect' };
  return { kind: 'lost', before: known.commit === '' ? undefined : known.commit };
}

/** What looks at the source of triggers found last, in the database. */
export class KnownRefs {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async of(id: TriggerId): Promise<ReadonlyMap<string, KnownRef>> {
    const rows = await this.#database.sql
      .selectFrom('trigger_refs')
      .selectAll()
      .where('trigger_id', '=', id)
      .execute();
    return new Map(
      rows.map((row) => [row.ref, { commit: row.commit_sha, suspect: row.suspect_sha ?? undefined }]),
    );
  }

  /** An empty `commit`: the ref was not there before. */
  async remember(id: TriggerId, ref: string, commit: string, suspect?: string): Promise<void> {
    const values = { commit_sha: commit, suspect_sha: suspect ?? null };
    await this.#database.sql
      .insertInto('trigger_refs')
      .values({ trigger_id: id, ref, ...values })
      .onConflict((on) => on.columns(['trigger_id', 'ref']).doUpdateSet(values))
      .execute();
  }

  async forget(id: TriggerId, refs: readonly string[]): Promise<void> {
    for (const ref of refs)
      await this.#database.sql
        .deleteFrom('trigger_refs')
        .where('trigger_id', '=', id)
        .where('ref', '=', ref)
        .execute();
  }

  /**
   * Whether this commit of the ref was delivered, in whatever way, and no other one after it: a branch may be pushed back. What
   * failed or was refused was not built, and is looked for.
   */
  async delivered(id: TriggerId, ref: string, commit: string): Promise<boolean> {
    const row = await this.#database.sql
      .selectFrom('trigger_deliveries')
      .select('id')
      .where('trigger_id', '=', id)
      .where('ref', '=', ref)
      .where('commit_sha', '=', commit)
      .where('outcome', 'not in', ['failed', 'refused'])
      .where(noOtherLater)
      .limit(1)
      .executeTakeFirst();
    return row !== undefined;
  }
}
