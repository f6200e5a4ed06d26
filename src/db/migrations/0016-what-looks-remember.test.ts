import { Kysely, sql } from 'kysely';
import { expect, test } from 'vitest';
import { columnTypes } from '../migrations.ts';
import { SqliteDialect } from '../sqlite-dialect.ts';
import { first } from './0001-first.ts';
import { triggers } from './0013-triggers.ts';
import { whatLooksRemember } from './0016-what-looks-remember.ts';

const { sqlite: types } = columnTypes;

test('what was seen stays known, and deliveries of before say nothing more', async () => {
  const db = new Kysely<unknown>({ dialect: new SqliteDialect({ file: ':memory:' }) });
  try {
    await first(db, types);
    await triggers(db, types);
    for (const statement of [
      `insert into repositories (namespace, name, visibility, created_at) values ('kim', 'web', 'private', 1)`,
      `insert into triggers (id, namespace, repository, service, created_at)
        values ('seen', 'kim', 'web', 'github', 1), ('new', 'kim', 'web', 'github', 1)`,
      `insert into trigger_refs (trigger_id, ref, commit_sha) values ('seen', 'refs/heads/main', 'b')`,
      `insert into trigger_deliveries (id, trigger_id, delivery_key, came_by, received_at, outcome, due_at)
        values ('x', 'new', 'x', 'hook', 1, 'queued', 1), ('y', 'seen', 'y', 'hook', 1, 'queued', 1),
          ('z', 'new', 'z', 'hook', 1, 'queued', 1)`,
    ])
      await sql.raw(statement).execute(db);
    await whatLooksRemember(db, types);
    const read = async (query: string) => (await sql.raw(query).execute(db)).rows;
    expect(await read('select id, refs_known from triggers order by id')).toEqual([
      { id: 'new', refs_known: 0 },
      { id: 'seen', refs_known: 1 },
    ]);
    expect(await read('select ref, heard from trigger_refs')).toEqual([{ ref: 'refs/heads/main', heard: 2 }]);
  } finally {
    await db.destroy();
  }
});
