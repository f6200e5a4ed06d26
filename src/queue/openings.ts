import { sql } from 'kysely';
import { rowSet } from '../db/row-set.ts';
import type { Enqueue } from './enqueue-request.ts';
import { type Place, turnFrom } from './places.ts';
import { QueueError } from './queue-error.ts';
import type { Step } from './step.ts';

const columns = {
  nth: 'int',
  namespace: 'text',
  repository: 'text',
  priority: 'int',
  idempotency_key: 'text',
  newest_key: 'text',
} as const;

interface Found {
  readonly concurrency: number | null;
  readonly admitted: number;
  readonly lowest: number | null;
  readonly weight: number | null;
  readonly max_running: number | null;
  readonly clock: number | null;
  readonly own: number | null;
  readonly last: number | null;
  readonly waiting: number;
  readonly replaced: number;
  readonly made: string | null;
}

/**
 * What stands open to builds that are about to be made: read at once for all of them, then counted on in memory as they
 * are made one by one. The caller holds the locks of their namespaces.
 */
export class Openings {
  readonly #all: readonly Enqueue[];
  readonly #found: readonly Found[];
  /** Made by this very group, by the names they are counted under. */
  readonly #admitted = new Map<string, { count: number; lowest: number }>();
  readonly #lastTurn = new Map<string, number>();
  readonly #waiting = new Map<string, number>();
  readonly #keys = new Map<string, string>();
  /** Namespaces where a build seeks a place: who comes later gets one only after it. */
  readonly #sought = new Set<string>();

  private constructor(all: readonly Enqueue[], found: readonly Found[]) {
    this.#all = all;
    this.#found = found;
  }

  static async read(step: Step, all: readonly Enqueue[]): Promise<Openings> {
    const { dialect } = step.statements;
    const rows = all.map(({ request, options }, index) => ({
      nth: index,
      namespace: request.repository.namespace,
      repository: request.repository.name,
      priority: request.priority,
      idempotency_key: options.idempotencyKey ?? null,
      newest_key: options.newestOnly ?? null,
    }));
    // Counted only as far as anybody's limit goes.
    const most = Math.max(0, ...all.map(({ options }) => options.maxQueuedPerNamespace ?? 0));
    const waiting =
      most === 0
        ? sql`0`
        : sql`(select count(*) from (select 1 from builds where namespace = q.namespace
            and started_at is null and finished_at is null limit ${most}) as counted)`;
    const replaced = rows.some((row) => row.newest_key !== null)
      ? sql`(select count(*) from builds where namespace = q.namespace and repository = q.repository
          and newest_key = q.newest_key and started_at is null and finished_at is null)`
      : sql`0`;
    const made = rows.some((row) => row.idempotency_key !== null)
      ? sql`(select id from builds where namespace = q.namespace and repository = q.repository
          and idempotency_key = q.idempotency_key)`
      : sql`null`;
    const { rows: found } = await sql<Found & { nth: number }>`
      select q.nth,
        (select concurrency from repositories where namespace = q.namespace and name = q.repository) as concurrency,
        (select count(*) from builds
          where namespace = q.namespace and repository = q.repository and admitted = 1) as admitted,
        (select min(priority) from builds
          where namespace = q.namespace and repository = q.repository and admitted = 1) as lowest,
        (select weight from namespaces where name = q.namespace) as weight,
        (select max_running from namespaces where name = q.namespace) as max_running,
        (select turn from queue_clocks where priority = q.priority) as clock,
        (select next_turn from queue_turns where namespace = q.namespace and priority = q.priority) as own,
        (select max(turn) from attempts
          where namespace = q.namespace and priority = q.priority and ready = 1) as last,
        ${waiting} as waiting, ${replaced} as replaced, ${made} as made
      from ${rowSet(dialect, 'q', columns, rows)}
    `.execute(step.sql);
    const sorted = [...found].sort((a, b) => a.nth - b.nth);
    return new Openings(all, sorted);
  }

  /** The build that was made under the same idempotency key. */
  madeBefore(index: number): string | undefined {
    const { made } = this.#at(index);
    const key = this.#names(index).key;
    return made ?? (key === undefined ? undefined : this.#keys.get(key));
  }

  /** Why the namespace can take no more. A build counts for the one that it is about to supersede. */
  refusal(index: number): QueueError | undefined {
    const { request, options, found } = this.#at(index);
    const most = options.maxQueuedPerNamespace;
    if (most === undefined) return undefined;
    const { namespace } = request.repository;
    const waiting = found.waiting + (this.#waiting.get(namespace) ?? 0);
    if (waiting - found.replaced < most) return undefined;
    return new QueueError(
      'queue-full',
      `The namespace ${namespace} has ${waiting} builds waiting, and may have ${most}. Wait until some have started, or cancel some.`,
    );
  }

  /** Whether the build has a place at once: nobody waits for one while there is one. */
  place(index: number): Place {
    const { request, options, found } = this.#at(index);
    const { lane, namespace, fair } = this.#names(index);
    const own = this.#admitted.get(lane);
    const limited = found.max_running !== null || options.newestOnly !== undefined;
    const full = found.admitted + (own?.count ?? 0) >= (found.concurrency ?? 1);
    if (full || limited || this.#sought.has(namespace)) {
      const lowest = Math.min(
        found.lowest ?? Number.POSITIVE_INFINITY,
        own?.lowest ?? Number.POSITIVE_INFINITY,
      );
      return { kind: 'none', yields: limited || this.#sought.has(namespace) || lowest < request.priority };
    }
    const one = 1 / (found.weight ?? 1);
    const last = this.#lastTurn.get(fair) ?? found.last;
    return { kind: 'open', turn: turnFrom({ ...found, last }, one), step: one };
  }

  /** The build at `index` is made, with the place that `place` said. */
  taken(index: number, id: string): void {
    const { request } = this.#at(index);
    const { lane, namespace, fair, key } = this.#names(index);
    const place = this.place(index);
    if (key !== undefined) this.#keys.set(key, id);
    this.#waiting.set(namespace, (this.#waiting.get(namespace) ?? 0) + 1);
    if (place.kind === 'none') {
      if (place.yields) this.#sought.add(namespace);
      return;
    }
    const own = this.#admitted.get(lane);
    this.#admitted.set(lane, {
      count: (own?.count ?? 0) + 1,
      lowest: Math.min(own?.lowest ?? request.priority, request.priority),
    });
    this.#lastTurn.set(fair, place.turn + Math.max(0, request.platforms.length - 1) * place.step);
  }

  #at(index: number): Enqueue & { readonly found: Found; readonly made: string | undefined } {
    const asked = this.#all[index];
    const found = this.#found[index];
    if (asked === undefined || found === undefined) throw new RangeError(`no build ${index} in this group`);
    return { ...asked, found, made: found.made ?? undefined };
  }

  #names(index: number): { lane: string; namespace: string; fair: string; key: string | undefined } {
    const { request, options } = this.#at(index);
    const { namespace, name } = request.repository;
    const lane = `${namespace}/${name}`;
    const { idempotencyKey } = options;
    return {
      lane,
      namespace,
      fair: `${namespace} ${request.priority}`,
      key: idempotencyKey === undefined ? undefined : `${lane} ${idempotencyKey}`,
    };
  }
}
