import type { Logger } from 'pino';
import type { Config, DatabaseConfig } from '../config/config.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import type { DataFolder } from '../setup/data-folder.ts';
import { loadSecretKeys } from './secret-key-files.ts';

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

/** What seals secrets in the database: by DATABASE_SECRET_KEY, or by the key files of this server's own. */
export async function secretBoxOf({ secrets }: Config, folder: DataFolder): Promise<SecretBox> {
  const configured = secrets.formerDatabase.map((former) => former.reveal());
  const key = secrets.database?.reveal();
  if (key !== undefined) return new SecretBox({ key, former: configured });
  const files = await loadSecretKeys(folder.keys);
  return new SecretBox({ key: files.key, former: [...files.former, ...configured] });
}
