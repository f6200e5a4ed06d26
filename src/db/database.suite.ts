import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { Database } from './database.ts';

/** What both databases must do. */
export function databaseSuite(name: string, open: OpenScratch): void {
  describe(`database ${name}`, () => {
    let scratch: ScratchDatabase;
    let database: Database;

    beforeEach(async () => {
      scratch = await open();
      database = scratch.database;
    });

    afterEach(async () => {
      await scratch[Symbol.asyncDispose]();
    });

    const user = (username: string) => ({ username, password_hash: 'x', email: null, created_at: 1 });

    it('tells violations apart', async () => {
      await database.sql.insertInto('users').values(user('ann')).execute();
      await expect(database.sql.insertInto('users').values(user('ann')).execute()).rejects.toMatchObject({
        name: 'SqlError',
        code: 'unique-violation',
      });
      const member = { namespace: 'none', team: 'owners', username: 'ann' };
      await expect(database.sql.insertInto('team_members').values(member).execute()).rejects.toMatchObject({
        code: 'foreign-key',
      });
      await expect(
        database.sql
          .insertInto('namespaces')
          .values({ name: 'team', weight: 0, max_running: null, created_at: 1 })
          .execute(),
      ).rejects.toMatchObject({ code: 'constraint' });
      await expect(sql`select nonsense from nowhere`.execute(database.sql)).rejects.toMatchObject({
        code: 'failed',
      });
    });

    it('keeps numbers, bytes and text as they are', async () => {
      const data = new Uint8Array([0, 255, 1]);
      const large = 2 ** 52 + 1;
      const row = { build_id: 'ä\u{1F600}', first_index: large, entries: 0, bytes: 1, data };
      await database.sql.insertInto('log_chunks').values(row).execute();
      const [read] = await database.sql.selectFrom('log_chunks').selectAll().execute();
      expect({ ...read, data: Uint8Array.from(read?.data ?? []) }).toEqual(row);
    });

    it('does a transaction entirely or not at all, unseen by others until then', async () => {
      const seen: number[] = [];
      const count = async () => {
        const rows = await database.sql.selectFrom('users').select('username').execute();
        seen.push(rows.length);
      };
      const failing = database.transaction(async (transaction) => {
        await transaction.insertInto('users').values(user('ann')).execute();
        throw new Error('changed my mind');
      });
      await Promise.all([expect(failing).rejects.toThrow('changed my mind'), count(), count()]);
      await count();
      expect(seen).toEqual([0, 0, 0]);
    });

    it('runs transactions at once without losing an update', async () => {
      await database.sql.insertInto('queue_clocks').values({ priority: 0, turn: 0 }).execute();
      await Promise.all(
        Array.from({ length: 50 }, () =>
          database.transaction(async (transaction) => {
            await transaction
              .updateTable('queue_clocks')
              .set((set) => ({ turn: set('turn', '+', 1) }))
              .execute();
            await transaction.selectFrom('queue_clocks').select('turn').execute();
          }),
        ),
      );
      expect(await database.sql.selectFrom('queue_clocks').selectAll().execute()).toEqual([
        { priority: 0, turn: 50 },
      ]);
    });

    it('refuses a database of a later version, and changes nothing', async () => {
      await sql`insert into schema_migrations (name, timestamp) values ('9999-later', 'x')`.execute(
        database.sql,
      );
      if (scratch.options.provider === 'sqlite' && scratch.options.file === ':memory:') {
        const { migrate } = await import('./migrations.ts');
        await expect(migrate(database.sql as never, database.dialect)).rejects.toMatchObject({
          code: 'newer-schema',
        });
        return;
      }
      const again = Database.open(scratch.options);
      await expect(again).rejects.toMatchObject({ code: 'newer-schema' });
      await expect(again).rejects.toThrow(/9999-later/);
      expect(await database.sql.selectFrom('users').selectAll().execute()).toEqual([]);
    });

    it('is unavailable once stopped', async () => {
      await using other = await open();
      await other.database.stop();
      await expect(other.database.sql.selectFrom('users').selectAll().execute()).rejects.toThrow();
    });
  });
}
