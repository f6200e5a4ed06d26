import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SqlAuditLog } from '../audit/sql-audit-log.ts';
import { systemClock as clock } from '../base/clock.ts';
import { CliError, type ExitStatus, exitStatus } from '../cli/cli-error.ts';
import { printLine, type Terminal } from '../cli/terminal.ts';
import type { DatabaseConfig } from '../config/config.ts';
import { sealAnew } from '../db/seal-anew.ts';
import { SecretBox } from '../db/secret-box.ts';
import { openDataFolder } from '../setup/data-folder.ts';
import type { ProcessEnvironment } from './environment.ts';
import { openDatabase } from './open-database.ts';
import { asOperator } from './operator-error.ts';
import { readConfig } from './read-config.ts';
import { configuredNext, reportOf, totalsOf } from './rotate-key-report.ts';
import { beginRotation, endRotation, loadSecretKeys } from './secret-key-files.ts';
import { catchSignals } from './signals.ts';

export interface RotateKeyFlags {
  readonly config?: string;
  readonly data?: string;
  readonly dryRun?: boolean;
}

/**
 * `slipway admin rotate-key`: seals with the current key what is sealed with a former one. With DATABASE_SECRET_KEY the
 * servers of the database may run meanwhile. Where a data folder's key file seals, a new one is made, and no server may have it.
 */
export async function rotateKey(
  environment: ProcessEnvironment,
  terminal: Terminal,
  { config: file, data, dryRun = false }: RotateKeyFlags,
): Promise<ExitStatus> {
  if (file !== undefined && data !== undefined)
    throw new CliError(
      'usage',
      '--config is for servers of `serve`, --data for one of `up`: give one of them.',
    );
  return await asOperator(async () => {
    if (file === undefined) {
      const root = resolve(data ?? join(environment.dataHome, 'slipway'));
      const database = { provider: 'sqlite', file: join(root, 'slipway.db') } as const;
      return await rotateFiles(root, database, []);
    }
    const { secrets, database, dataFolder } = readConfig(environment, file);
    const former = secrets.formerDatabase.map((key) => key.reveal());
    const key = secrets.database?.reveal();
    if (key === undefined) return await rotateFiles(dataFolder, database, former);
    const inOrder = await rotate(database, { key, former });
    if (inOrder && former.length > 0) say(...configuredNext(dryRun));
    return inOrder ? exitStatus.ok : exitStatus.userError;
  });

  async function rotateFiles(
    root: string,
    database: DatabaseConfig,
    configured: readonly Uint8Array[],
  ): Promise<ExitStatus> {
    expectOwnFolder(root);
    const folder = await openDataFolder(root);
    try {
      expectDatabase(database);
      const { key, former } = await (dryRun ? loadSecretKeys : beginRotation)(folder.keys);
      const inOrder = await rotate(database, { key, former: [...former, ...configured] });
      if (!inOrder) return exitStatus.userError;
      if (dryRun && former.length === 0)
        say('Without --dry-run a new key is made, and all of them are sealed anew.');
      else if (dryRun) say('Without --dry-run the former key is removed.');
      else {
        await endRotation(folder.keys);
        say('The new key is in place, and the former one is removed. Next: start the server again.');
        if (configured.length > 0) say('Before, remove SLIPWAY.FORMER_DATABASE_SECRET_KEYS.');
      }
      return exitStatus.ok;
    } finally {
      folder.release();
    }
  }

  /** Whether everything is sealed with the current key. */
  async function rotate(config: DatabaseConfig, keys: SealingKeys): Promise<boolean> {
    expectDatabase(config);
    const stop = new AbortController();
    void catchSignals().first.then(() =>
      stop.abort(new CliError('usage', 'Stopped. What was sealed anew stays so; run it again for the rest.')),
    );
    const database = await openDatabase(config);
    try {
      const secretBox = new SecretBox(keys);
      const result = await sealAnew({ database, secretBox, dryRun, signal: stop.signal });
      const { anew, former, locked } = totalsOf(result);
      const inOrder = former + locked === 0;
      if (!dryRun)
        await new SqlAuditLog({ database, clock }).write({
          actor: { kind: 'system', name: 'slipway admin rotate-key' },
          action: 'secrets.rotate',
          target: { kind: 'server', name: 'database' },
          ...(inOrder ? { result: 'done' } : { result: 'failed', reason: 'secrets-left' }),
          detail: { anew, former, locked },
        });
      say(...reportOf(result, dryRun));
      return inOrder;
    } finally {
      await database.stop();
    }
  }

  function say(...lines: readonly string[]): void {
    for (const line of lines) printLine(terminal.stdout, line);
  }
}

interface SealingKeys {
  readonly key: Uint8Array;
  readonly former: readonly Uint8Array[];
}

/** A key file of another account would be one that the server cannot read. */
function expectOwnFolder(root: string): void {
  const keys = join(root, 'keys');
  if (!existsSync(keys))
    throw new CliError(
      'usage',
      `${root} is not the data folder of a server. Name it with --data or --config.`,
    );
  const owner = statSync(keys).uid;
  if (process.getuid?.() !== owner)
    throw new CliError(
      'usage',
      `${root} belongs to another account (${owner}). Run this as the account that the server runs as.`,
    );
}

/** One that is made now would have nothing in it. */
function expectDatabase(config: DatabaseConfig): void {
  if (config.provider === 'sqlite' && !existsSync(config.file))
    throw new CliError('usage', `There is no database ${config.file}. Check the configuration or --data.`);
}
