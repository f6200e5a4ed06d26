import { Kysely, sql } from 'kysely';
import { expect, test } from 'vitest';
import { columnTypes } from '../migrations.ts';
import { SqliteDialect } from '../sqlite-dialect.ts';
import { first } from './0001-first.ts';
import { accounts } from './0010-accounts.ts';

const { sqlite: types } = columnTypes;

test('members of namespaces become teams, and no namespace is left for somebody to claim', async () => {
  const db = new Kysely<unknown>({ dialect: new SqliteDialect({ file: ':memory:' }) });
  try {
    await first(db, types);
    for (const statement of [
      `insert into users (username, password_hash, created_at) values ('kim', 'x', 1), ('lee', 'x', 1)`,
      `insert into namespaces (name, created_at) values ('kim', 1), ('lee', 1), ('team', 2)`,
      `insert into namespace_members values ('kim', 'kim', 'admin'), ('lee', 'lee', 'admin'),
        ('team', 'kim', 'admin'), ('team', 'lee', 'read')`,
      `insert into repositories (namespace, name, visibility, created_at)
        values ('kim', 'web', 'private', 3), ('lost', 'a', 'private', 5), ('lost', 'b', 'private', 4)`,
    ])
      await sql.raw(statement).execute(db);
    await accounts(db, types);
    const read = async (query: string) => (await sql.raw(query).execute(db)).rows;
    expect(await read('select name, kind, created_at from namespaces order by name')).toEqual([
      { name: 'kim', kind: 'user', created_at: 1 },
      { name: 'lee', kind: 'user', created_at: 1 },
      { name: 'lost', kind: 'organization', created_at: 4 },
      { name: 'team', kind: 'organization', created_at: 2 },
    ]);
    expect(await read('select namespace, name, role from teams')).toEqual([
      { namespace: 'team', name: 'owners', role: 'admin' },
    ]);
    expect(await read('select * from team_members')).toEqual([
      { namespace: 'team', team: 'owners', username: 'kim' },
    ]);
  } finally {
    await db.destroy();
  }
});
