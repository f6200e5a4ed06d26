import type { Logger } from 'pino';
import type { Config, DatabaseConfig } from '../config/config.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import type { DataFolder } from '../setup/data-folder.ts';
import { loadSecretKey } from './keys.ts';

/** Opens the database of a configuration, and brings its schema up to date. Throws SqlError. */
export async function openDatabase(config: DatabaseConfig, logger?: Logger): Promise<Database> {
  if (config.provider === 'sqlite') return await Database.open(config);
  return await Database.open({
    provider: 'postgres',
    url: config.url.reveal(),
    connections: config.connections,
    onError: (error) => logger?.warn({ err: error }, 'a connection to the database broke'),
  });
}

/** What seals secrets in the database: by DATABASE_SECRET_KEY, or by a key file of this server's own. */
export async function secretBoxOf({ secrets }: Config, folder: DataFolder): Promise<SecretBox> {
  const key = secrets.database?.reveal() ?? (await loadSecretKey(folder.keys, 'database-secret-key'));
  return new SecretBox({ key });
}
