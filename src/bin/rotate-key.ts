import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SqlAuditLog } from '../audit/sql-audit-log.ts';
import { systemClock as clock } from '../base/clock.ts';
import { CliError, type ExitStatus, exitStatus } from '../cli/cli-error.ts';
import { printLine, type Terminal } from '../cli/terminal.ts';
import type { DatabaseConfig } from '../config/config.ts';
import { type LockedRow, type SealAnewResult, sealAnew } from '../db/seal-anew.ts';
import { SecretBox } from '../db/secret-box.ts';
import { openDataFolder } from '../setup/data-folder.ts';
import type { ProcessEnvironment } from './environment.ts';
import { openDatabase } from './open-database.ts';
import { asOperator } from './operator-error.ts';
import { readConfig } from './read-config.ts';
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
      if (dryRun) say('Without --dry-run a new key is made, and all of them are sealed anew.');
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
      const { anew, former, locked } = totals(result);
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

function totals({ counts }: SealAnewResult): { anew: number; former: number; locked: number } {
  const sum = (part: 'anew' | 'former' | 'locked') => counts.reduce((all, each) => all + each[part], 0);
  return { anew: sum('anew'), former: sum('former'), locked: sum('locked') };
}

function reportOf(result: SealAnewResult, dryRun: boolean): string[] {
  const { former, locked } = totals(result);
  const lines = result.counts.map(
    (each) =>
      `${each.what}: ${each.current} with the current key${dryRun ? '' : ` (${each.anew} sealed anew)`}, ` +
      `${each.former} with a former key, ${each.locked} that cannot be opened`,
  );
  if (locked > 0) {
    lines.push('Cannot be opened:');
    for (const row of result.locked) lines.push(`  ${nameOf(row)}`);
    if (locked > result.locked.length) lines.push(`  and ${locked - result.locked.length} more`);
    lines.push(
      'Add the key they were sealed with to the former keys, or set these secrets again (cancel a build to be rid of its own).',
    );
  }
  if (former + locked > 0)
    lines.push(
      dryRun
        ? 'Not everything is sealed with the current key. Keep the former keys, and run this without --dry-run.'
        : 'Something is left. Keep the former keys, and run this again.',
    );
  return lines;
}

/** By its primary key: what it holds is not shown. */
function nameOf({ table, column, key, why }: LockedRow): string {
  const parts = Object.entries(key).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const reason = why === 'tampered' ? 'damaged, or from another row' : 'sealed with a key that is not here';
  return `${table}.${column} ${parts.join(' ')}: ${reason}`;
}

function configuredNext(dryRun: boolean): string[] {
  return [
    `Everything is sealed with the current key. Next${dryRun ? '' : ', once every server runs with it'}:`,
    '  1. slipway admin rotate-key --config FILE --dry-run   which must still say so',
    '  2. remove SLIPWAY.FORMER_DATABASE_SECRET_KEYS from the configuration of every server, and restart them',
  ];
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
