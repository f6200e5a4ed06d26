import { sql } from 'kysely';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import { type Digest, parseDigest } from '../model/digest.ts';
import { parseTag, type Tag } from '../model/tag.ts';
import type { PushHistory } from './cached-tag.ts';
import type { PublicationFence } from './publication-fence.ts';
import type { PublishingManager, Push } from './registry.ts';

/** Remembers the last push to every tag, in the database: a registry does not say when a tag was pushed. */
export class SqlPushHistory implements PushHistory, PublicationFence {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** A push by digest moves no tag; of it only the manifest is remembered. */
  async record({ repository, tag, digest, pusher }: Push): Promise<void> {
    await this.#recordManifest({ repository, digest });
    if (tag === undefined) return;
    const values = { digest, pusher, pushed_at: this.#clock.now() };
    await this.#database.sql
      .insertInto('registry_pushes')
      .values({ repository, tag, ...values })
      .onConflict((conflict) => conflict.columns(['repository', 'tag']).doUpdateSet(values))
      .execute();
  }

  async holds({ buildId, manager }: PublishingManager): Promise<boolean> {
    const row = await this.#database.sql
      .selectFrom('builds')
      .select('id')
      .where('id', '=', buildId)
      .where('publisher', '=', manager)
      .where('publish_until', 'is not', null)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** The row of the build is held meanwhile: who takes the build over does it before, and this records nothing, or after. */
  async recordHeld(
    { repository, tag, digest, pusher }: Push & { readonly tag: Tag },
    { buildId, manager }: PublishingManager,
  ): Promise<boolean> {
    await this.#recordManifest({ repository, digest });
    const now = this.#clock.now();
    const hold = this.#database.dialect === 'postgres' ? sql`for share` : sql``;
    const { rows } = await this.#database.statement((db) =>
      sql`
        insert into registry_pushes (repository, tag, digest, pusher, pushed_at)
        select ${repository}, ${tag}, ${digest}, ${pusher}, cast(${now} as bigint) from builds
        where id = ${buildId} and publisher = ${manager} and publish_until is not null ${hold}
        on conflict (repository, tag) do update set digest = excluded.digest, pusher = excluded.pusher, pushed_at = excluded.pushed_at
        returning tag
      `.execute(db),
    );
    return rows.length > 0;
  }

  async recorded(repository: string, tag: Tag): Promise<Digest | undefined> {
    const row = await this.#database.sql
      .selectFrom('registry_pushes')
      .select('digest')
      .where('repository', '=', repository)
      .where('tag', '=', tag)
      .executeTakeFirst();
    return row === undefined ? undefined : parseDigest(row.digest);
  }

  async #recordManifest(manifest: Pick<Push, 'repository' | 'digest'>): Promise<void> {
    await this.#database.sql
      .insertInto('registry_manifests')
      .values(manifest)
      .onConflict((conflict) => conflict.doNothing())
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
