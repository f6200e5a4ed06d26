import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { Database, type DatabaseOptions } from '../../src/db/database.ts';

/** A database of its own for one test, gone with it. */
export interface ScratchDatabase extends AsyncDisposable {
  readonly database: Database;
  /** To open it once more, as a second manager does. */
  readonly options: DatabaseOptions;
}

export type OpenScratch = () => Promise<ScratchDatabase>;

export const scratchMemory: OpenScratch = async () => {
  const options: DatabaseOptions = { provider: 'sqlite', file: ':memory:' };
  const database = await Database.open(options);
  return { database, options, [Symbol.asyncDispose]: () => database.stop() };
};

export const scratchFile: OpenScratch = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-scratch-'));
  const options: DatabaseOptions = { provider: 'sqlite', file: join(folder, 'scratch.db') };
  const database = await Database.open(options);
  return {
    database,
    options,
    async [Symbol.asyncDispose]() {
      await database.stop();
      await rm(folder, { recursive: true });
    },
  };
};

/** On the server at SLIPWAY_TEST_POSTGRES, which the tests' global set-up starts. */
export const scratchPostgres: OpenScratch = async () => {
  const server = process.env.SLIPWAY_TEST_POSTGRES;
  if (server === undefined) {
    throw new Error('SLIPWAY_TEST_POSTGRES is not set; run vitest with --project integration.');
  }
  const name = `scratch_${randomBytes(8).toString('hex')}`;
  await asAdministrator(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const options: DatabaseOptions = { provider: 'postgres', url: url.href };
  const database = await Database.open(options);
  return {
    database,
    options,
    async [Symbol.asyncDispose]() {
      await database.stop();
      // Refused while a connection is left: whoever made one has to close it.
      await asAdministrator(server, `drop database ${name}`);
    },
  };
};

async function asAdministrator(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
