import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import { parseTag, type Tag } from '../model/tag.ts';
import type { PushHistory } from './cached-tag.ts';
import type { Push } from './registry.ts';

/** Remembers the last push to every tag, in the database: a registry does not say when a tag was pushed. */
export class SqlPushHistory implements PushHistory {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** A push by digest moves no tag; of it only the manifest is remembered. */
  async record({ repository, tag, digest, pusher }: Push): Promise<void> {
    await this.#database.sql
      .insertInto('registry_manifests')
      .values({ repository, digest })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    if (tag === undefined) return;
    const values = { digest, pusher, pushed_at: this.#clock.now() };
    await this.#database.sql
      .insertInto('registry_pushes')
      .values({ repository, tag, ...values })
      .onConflict((conflict) => conflict.columns(['repository', 'tag']).doUpdateSet(values))
      .execute();
  }

  async mostRecentTag(repository: string): Promise<Tag | undefined> {
    const row = await this.#database.sql
      .selectFrom('registry_pushes')
      .select('tag')
      .where('repository', '=', repository)
      .orderBy('pushed_at', 'desc')
      .orderBy('tag')
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : parseTag(row.tag);
  }
}
