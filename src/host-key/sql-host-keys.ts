import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import type { HostKey } from '../model/host-key.ts';
import { type GitServer, type HostKeys, mostServersPerNamespace, type SeenHostKey } from './host-keys.ts';

/** A build pack has so many; the oldest first, for they are the ones that have proven themselves. */
const mostInPack = 500;

export class SqlHostKeys implements HostKeys {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
  }

  async known(own: GitServer | undefined): Promise<readonly HostKey[]> {
    const others = this.#database.sql
      .selectFrom('git_host_keys')
      .selectAll()
      .orderBy('first_seen')
      .orderBy('host')
      .orderBy('port')
      .limit(mostInPack)
      .execute();
    const mine =
      own === undefined
        ? []
        : await this.#database.sql
            .selectFrom('git_host_keys')
            .selectAll()
            .where('host', '=', own.host)
            .where('port', '=', own.port)
            .execute();
    const rest = (await others).filter(({ host, port }) => host !== own?.host || port !== own?.port);
    return [...mine, ...rest].map(keyOf);
  }

  async record(
    keys: readonly HostKey[],
    { buildId, namespace }: { readonly buildId: string; readonly namespace: string },
  ): Promise<void> {
    await this.#database.transaction(async (sql) => {
      const { count } = await sql
        .selectFrom('git_host_keys')
        .select(({ fn }) => fn.countAll<number | bigint | string>().as('count'))
        .where('namespace', '=', namespace)
        .executeTakeFirstOrThrow();
      const room = Math.max(0, mostServersPerNamespace - Number(count));
      for (const { host, port, type, key } of keys.slice(0, room)) {
        await sql
          .insertInto('git_host_keys')
          .values({
            host,
            port,
            key_type: type,
            public_key: key,
            first_seen: this.#clock.now(),
            build_id: buildId,
            namespace,
          })
          .onConflict((on) => on.columns(['host', 'port']).doNothing())
          .execute();
      }
    });
  }

  async list(limit: number, after?: GitServer): Promise<readonly SeenHostKey[]> {
    let query = this.#database.sql.selectFrom('git_host_keys').selectAll();
    if (after !== undefined) {
      const { host, port } = after;
      query = query.where((is) =>
        is.or([is('host', '>', host), is.and([is('host', '=', host), is('port', '>', port)])]),
      );
    }
    const rows = await query.orderBy('host').orderBy('port').limit(limit).execute();
    return rows.map((row) => ({
      ...keyOf(row),
      firstSeen: row.first_seen,
      buildId: row.build_id,
      namespace: row.namespace,
    }));
  }

  async forget({ host, port }: GitServer): Promise<boolean> {
    const { numDeletedRows } = await this.#database.sql
      .deleteFrom('git_host_keys')
      .where('host', '=', host)
      .where('port', '=', port)
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }
}

function keyOf({ host, port, key_type, public_key }: Row<'git_host_keys'>): HostKey {
  return { host, port, type: key_type, key: public_key };
}
