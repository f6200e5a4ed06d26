import { sql } from 'kysely';
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
  /** What was delivered last if that came after the last look, else what that look saw; empty: the ref was not there. */
  readonly commit: string;
  readonly suspect: string | undefined;
  /** Nothing is to be written when the ref is still at `commit`. */
  readonly settled: boolean;
}

/** What is known of a trigger's source before it is looked at again. */
export interface KnownSource {
  /** It was not looked at before, or what was seen is to be forgotten. */
  readonly first: boolean;
  /** The newest delivery that counts in `refs`. */
  readonly heard: number;
  readonly refs: ReadonlyMap<string, KnownRef>;
}

interface KnownRow {
  readonly ref: string;
  readonly commit_sha: string;
  readonly suspect_sha: string | null;
  readonly told: string | null;
  readonly told_outcome: string | null;
}

/** Pure: what is to be made of a ref whose commit is `now`; `known` is what is remembered of it, if anything. */
export function newsOf(known: Pick<KnownRef, 'commit' | 'suspect'> | undefined, now: string): RefNews {
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

  /**
   * To be asked before the source is. A delivery that makes a build counts for more than what an earlier look saw: the ref
   * may have gone back since to where that look saw it. A person's sending an old one again says nothing about the ref.
   */
  async of(id: TriggerId): Promise<KnownSource> {
    const { sql: db } = this.#database;
    const trigger = await db
      .selectFrom('triggers')
      .select('refs_known')
      .where('id', '=', id)
      .executeTakeFirst();
    const newest = await db
      .selectFrom('trigger_deliveries')
      .select('number')
      .where('trigger_id', '=', id)
      .orderBy('number', 'desc')
      .limit(1)
      .executeTakeFirst();
    const heard = newest?.number ?? 0;
    const told = sql`from trigger_deliveries as d
      where d.trigger_id = r.trigger_id and d.ref = r.ref and d.number > r.heard and d.number <= ${heard}
        and d.commit_sha is not null and d.came_by <> 'person' and d.outcome in ('waiting', 'queued')
      order by d.number desc limit 1`;
    const { rows } = await sql<KnownRow>`
      select r.ref, r.commit_sha, r.suspect_sha, (select d.commit_sha ${told}) as told,
        (select d.outcome ${told}) as told_outcome
      from trigger_refs as r where r.trigger_id = ${id}
    `.execute(db);
    const refs = rows.map((row) => [row.ref, knownOf(row)] as const);
    return { first: trigger?.refs_known !== 1, heard, refs: new Map(refs) };
  }

  /** An empty `commit`: the ref was not there before. */
  async remember(
    id: TriggerId,
    ref: string,
    seen: { readonly commit: string; readonly suspect?: string; readonly heard: number },
  ): Promise<void> {
    const values = { commit_sha: seen.commit, suspect_sha: seen.suspect ?? null, heard: seen.heard };
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

  /** The first look is over: what is not remembered now was not there. */
  async firstLookEnded(id: TriggerId): Promise<void> {
    await this.#database.sql.updateTable('triggers').set({ refs_known: 1 }).where('id', '=', id).execute();
  }

  /** The next look only remembers, as the first one did. */
  async startAnew(id: TriggerId): Promise<void> {
    await this.#database.transaction(async (db) => {
      await db.deleteFrom('trigger_refs').where('trigger_id', '=', id).execute();
      await db.updateTable('triggers').set({ refs_known: 0 }).where('id', '=', id).execute();
    });
  }

  /**
   * Whether this commit of the ref was delivered, in whatever way, and no other one after it: a branch may be pushed back. What
   * failed or was refused was not built, and is looked for; what still waits may come to that.
   */
  async delivered(id: TriggerId, ref: string, commit: string): Promise<'no' | 'waits' | 'yes'> {
    const rows = await this.#database.sql
      .selectFrom('trigger_deliveries')
      .select('outcome')
      .where('trigger_id', '=', id)
      .where('ref', '=', ref)
      .where('commit_sha', '=', commit)
      .where('outcome', 'not in', ['failed', 'refused'])
      .where(noOtherLater)
      .groupBy('outcome')
      .execute();
    if (rows.length === 0) return 'no';
    return rows.every(({ outcome }) => outcome === 'waiting') ? 'waits' : 'yes';
  }
}

function knownOf({ commit_sha, suspect_sha, told, told_outcome }: KnownRow): KnownRef {
  return {
    commit: told ?? commit_sha,
    suspect: suspect_sha ?? undefined,
    // What waits may fail yet, and is looked for then.
    settled: (told === null && suspect_sha === null) || told_outcome === 'waiting',
  };
}
