import type { LockedRow, SealAnewResult } from '../db/seal-anew.ts';

/** Over all columns. */
export function totalsOf({ counts }: SealAnewResult): { anew: number; former: number; locked: number } {
  const sum = (part: 'anew' | 'former' | 'locked') => counts.reduce((all, each) => all + each[part], 0);
  return { anew: sum('anew'), former: sum('former'), locked: sum('locked') };
}

/** What an operator is told: numbers, and rows by their keys; nothing of what they hold. */
export function reportOf(result: SealAnewResult, dryRun: boolean): string[] {
  const { former, locked } = totalsOf(result);
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

/** When everything is in order and former keys are still configured. */
export function configuredNext(dryRun: boolean): string[] {
  return [
    `Everything is sealed with the current key. Next${dryRun ? '' : ', once every server runs with it'}:`,
    '  1. slipway admin rotate-key --config FILE --dry-run   which must still say so',
    '  2. remove SLIPWAY.FORMER_DATABASE_SECRET_KEYS from the configuration of every server, and restart them',
  ];
}
