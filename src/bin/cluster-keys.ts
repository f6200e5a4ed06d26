import { randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import { sealedColumns } from '../db/sealed-columns.ts';
import { type SecretBox, SecretBoxError } from '../db/secret-box.ts';
import { newSigningKey, readSigningKey, type SigningKey } from '../registry/signing-key.ts';
import { newTokenKey } from '../rpc/token-keys.ts';
import { SetupError } from '../setup/setup-error.ts';

/** What all managers of a cluster sign with, so that each one understands what any other has signed. */
export interface ClusterKeys {
  readonly registry: SigningKey;
  /** PEM */
  readonly workerToken: string;
  /** 32 bytes. */
  readonly urls: Buffer;
}

interface StoredKeys {
  readonly registryKey: string;
  readonly registryCertificate: string;
  readonly workerToken: string;
  readonly urls: string;
}

const setting = 'signing-keys';
const purpose = sealedColumns.signingKeys.purpose({ name: setting });

/**
 * Reads the keys from the database, where they are sealed, and makes them at the very first start. They are one row:
 * of managers that start at the same moment one writes it, and all use what was written.
 */
export async function clusterKeys(
  database: Database,
  secretBox: SecretBox,
  clock: Clock,
): Promise<ClusterKeys> {
  const sealed = (await stored(database)) ?? (await make(database, secretBox, clock));
  const keys = open(sealed, secretBox);
  return {
    registry: await readSigningKey({ privateKey: keys.registryKey, certificate: keys.registryCertificate }),
    workerToken: keys.workerToken,
    urls: Buffer.from(keys.urls, 'base64'),
  };
}

async function stored(database: Database): Promise<string | undefined> {
  const row = await database.sql
    .selectFrom('settings')
    .select('value_json')
    .where('name', '=', setting)
    .executeTakeFirst();
  return row?.value_json;
}

async function make(database: Database, secretBox: SecretBox, clock: Clock): Promise<string> {
  const { privateKey, certificate } = newSigningKey(clock);
  const keys: StoredKeys = {
    registryKey: privateKey,
    registryCertificate: certificate,
    workerToken: newTokenKey(),
    urls: randomBytes(32).toString('base64'),
  };
  const sealed = secretBox.seal(Buffer.from(JSON.stringify(keys)), purpose);
  await database.sql
    .insertInto('settings')
    .values({ name: setting, value_json: JSON.stringify(Buffer.from(sealed).toString('base64')) })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .execute();
  const written = await stored(database);
  if (written === undefined) throw new TypeError('the keys that were written are not there');
  return written;
}

function open(sealed: string, secretBox: SecretBox): StoredKeys {
  try {
    const bytes = Buffer.from(JSON.parse(sealed) as string, 'base64');
    return JSON.parse(Buffer.from(secretBox.open(bytes, purpose)).toString('utf8')) as StoredKeys;
  } catch (cause) {
    if (!(cause instanceof SecretBoxError)) throw cause;
    throw new SetupError(
      'wrong-secret-key',
      'The keys in the database were sealed with another DATABASE_SECRET_KEY. Configure the one that the other managers of this database have; if it was changed, add the one before to SLIPWAY.FORMER_DATABASE_SECRET_KEYS.',
      cause,
    );
  }
}
