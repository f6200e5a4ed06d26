import type { Sql } from '../db/database.ts';
import type { ClaimedAt } from './attempt-ages.ts';
import type { SeenLease } from './lease-watch.ts';

/** A manager whose counter stood still for so many milliseconds is dead. */
const silence = 4_000;

/**
 * When this manager itself did not look for so many milliseconds (it was paused, or the database was away), it has
 * seen nothing of the others either, and begins to watch them anew.
 */
const blindness = 1_500;

/** A manager whose counter moved within so many milliseconds surely lives: it counts about twice a second. */
const liveliness = 2_000;

/**
 * One manager's row among the managers, and what it has seen of the other rows. The others' counters are watched by
 * this process's own monotonic clock, so that it does not matter what time it is anywhere. A manager that is alone
 * writes nothing: its counter moves once there is somebody to see it.
 */
export class Presence {
  readonly #name: string;
  readonly #monotonic: () => number;
  readonly #others = new Map<string, { beats: number; since: number }>();
  #looked = Number.NEGATIVE_INFINITY;

  /** `monotonic`: milliseconds since any fixed moment. */
  constructor(name: string, monotonic: () => number) {
    this.#name = name;
    this.#monotonic = monotonic;
  }

  /** Counts, and takes away the rows of the dead. Whoever has no row is gone; what that means is the caller's. */
  async beat(sql: Sql, now: number): Promise<void> {
    const rows = await sql.selectFrom('managers').select(['name', 'beats']).execute();
    const others = rows.filter(({ name }) => name !== this.#name);
    if (others.length > 0 || rows.length === 0) await this.#count(sql, now);
    for (const { name, beats } of this.#silent(others)) {
      // Only as it was seen: it may have counted meanwhile, or another one may have taken the row away.
      await sql.deleteFrom('managers').where('name', '=', name).where('beats', '=', beats).execute();
    }
  }

  /** The others that were not found silent so far. */
  get living(): readonly string[] {
    const at = this.#monotonic();
    return [...this.#others].filter(([, { since }]) => at - since < silence).map(([name]) => name);
  }

  /** Whether another manager was seen to count a moment ago. */
  get othersLive(): boolean {
    const at = this.#monotonic();
    return [...this.#others.values()].some(({ since }) => at - since < liveliness);
  }

  async #count(sql: Sql, now: number): Promise<void> {
    await sql
      .insertInto('managers')
      .values({ name: this.#name, beats: 1, joined_at: now })
      .onConflict((conflict) =>
        conflict.column('name').doUpdateSet((set) => ({ beats: set('managers.beats', '+', 1) })),
      )
      .execute();
  }

  #silent(rows: readonly { name: string; beats: number }[]): readonly { name: string; beats: number }[] {
    const at = this.#monotonic();
    if (at - this.#looked > blindness) this.#others.clear();
    this.#looked = at;
    const present = new Set(rows.map(({ name }) => name));
    for (const name of this.#others.keys()) if (!present.has(name)) this.#others.delete(name);
    return rows.filter(({ name, beats }) => {
      const seen = this.#others.get(name);
      if (seen?.beats === beats) return at - seen.since >= silence;
      this.#others.set(name, { beats, since: at });
      return false;
    });
  }
}

/** What all managers hold. */
export async function heldLeases(sql: Sql): Promise<readonly (SeenLease & ClaimedAt)[]> {
  const rows = await sql
    .selectFrom('attempts')
    .select(['id', 'manager', 'lease_until', 'scheduled_at'])
    .where('lease_until', 'is not', null)
    .execute();
  return rows.flatMap(({ id, manager: holder, lease_until: leaseUntil, scheduled_at: scheduledAt }) =>
    holder === null || leaseUntil === null || scheduledAt === null
      ? []
      : [{ id, manager: holder, leaseUntil, scheduledAt }],
  );
}

/** Managers without a row that something is still left of. */
export async function goneManagers(sql: Sql): Promise<readonly string[]> {
  const rows = await sql
    .selectFrom('attempts')
    .select('manager as name')
    .where('lease_until', 'is not', null)
    .where('manager', 'is not', null)
    .where('manager', 'not in', (of) => of.selectFrom('managers').select('name'))
    .union(
      sql
        .selectFrom('builds')
        .select('publisher as name')
        .where('publisher', 'is not', null)
        .where('publisher', 'not in', (of) => of.selectFrom('managers').select('name')),
    )
    .execute();
  return rows.flatMap(({ name }) => (name === null ? [] : [name]));
}
