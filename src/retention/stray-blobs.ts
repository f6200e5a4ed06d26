import type { Clock } from '../base/clock.ts';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Database } from '../db/database.ts';

export interface StrayBlobsOptions {
  readonly database: Database;
  readonly stores: Readonly<Record<'logs' | 'uploads', BlobStore>>;
  readonly clock: Clock;
  /** Told of a blob that could not be removed; it is tried again later. */
  readonly onError: (error: unknown) => void;
}

const atOnce = 100;
/** Milliseconds after which a blob that could not be removed is tried again. */
const patience = 10 * 60_000;

/**
 * Removes blobs that no row refers to. Whoever writes a blob, or removes the row that refers to one, notes it in
 * `stray_blobs` first, in the same transaction; so none is forgotten, whenever a process dies.
 */
export class StrayBlobs {
  readonly #options: StrayBlobsOptions;

  constructor(options: StrayBlobsOptions) {
    this.#options = options;
  }

  /** Removes those that are due, and returns how many; may run anywhere, any number of times at once. */
  async sweep(signal: AbortSignal): Promise<number> {
    const { database, stores, clock, onError } = this.#options;
    for (let removed = 0; ; ) {
      const now = clock.now();
      const due = await database.sql
        .selectFrom('stray_blobs')
        .select(['store', 'blob_key'])
        .where('remove_at', '<=', now)
        .orderBy('remove_at')
        .limit(atOnce)
        .execute();
      if (due.length === 0) return removed;
      for (const store of ['logs', 'uploads'] as const) {
        const keys = due.filter((row) => row.store === store).map((row) => row.blob_key);
        const gone: string[] = [];
        const left: string[] = [];
        await Promise.all(
          lanes(keys).map(async (lane) => {
            for (const key of lane) {
              if (signal.aborted) return;
              await stores[store].remove(key).then(
                () => gone.push(key),
                (error: unknown) => {
                  left.push(key);
                  onError(error);
                },
              );
            }
          }),
        );
        if (gone.length > 0)
          await database.sql
            .deleteFrom('stray_blobs')
            .where('store', '=', store)
            .where('blob_key', 'in', gone)
            .execute();
        if (left.length > 0)
          await database.sql
            .updateTable('stray_blobs')
            .set({ remove_at: now + patience })
            .where('store', '=', store)
            .where('blob_key', 'in', left)
            .execute();
        removed += gone.length;
      }
      if (signal.aborted) return removed;
    }
  }
}

/** Keys dealt out to as many as work at once. */
function lanes(keys: readonly string[], count = 8): readonly (readonly string[])[] {
  return Array.from({ length: count }, (_, lane) => keys.filter((_key, index) => index % count === lane));
}
