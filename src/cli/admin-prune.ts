import { parseDuration } from '../base/duration.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import type { Client } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatBytes } from './format.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface PruneFlags extends ServerFlags {
  readonly keepYoungerThan: string;
  readonly confirm?: boolean;
}

interface Pruned {
  readonly before: number;
  readonly done: boolean;
  readonly builds: number;
  readonly jobs: number;
  readonly attempts: number;
  readonly logs: number;
  readonly log_bytes: number;
  readonly archives: number;
  readonly uploads: number;
  readonly upload_bytes: number;
}

/** Counts the builds that ended long ago, with what is theirs; removes them only when that is confirmed. */
export async function adminPrune(terminal: Terminal, flags: PruneFlags): Promise<ExitStatus> {
  if (parseDuration(flags.keepYoungerThan) === undefined)
    throw new CliError(
      'usage',
      `"${flags.keepYoungerThan}" is not a time span. Use numbers with s, m, h, d or w, e.g. 720h or 30d`,
    );
  const { client } = await connect(terminal, flags);
  const confirm = flags.confirm === true;
  const pruned = confirm
    ? await removeAll(client, flags.keepYoungerThan)
    : await client.post<Pruned>(path, { keep_younger_than: flags.keepYoungerThan, confirm });
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify({ ...pruned, confirmed: confirm }));
    return exitStatus.ok;
  }
  const verb = confirm ? 'Removed' : 'Would remove';
  const when = new Date(pruned.before).toISOString();
  printLine(terminal.stdout, `${verb} builds that ended before ${when}:`);
  for (const line of [
    `${pruned.builds} builds, ${pruned.jobs} jobs, ${pruned.attempts} attempts`,
    `${pruned.logs} logs (${formatBytes(pruned.log_bytes)} of text, ${pruned.archives} archived)`,
    `${pruned.uploads} uploads (${formatBytes(pruned.upload_bytes)})`,
  ])
    printLine(terminal.stdout, `  ${line}`);
  if (!confirm) printLine(terminal.stdout, 'Nothing was removed. Add --confirm to remove them.');
  return exitStatus.ok;
}

const path = '/api/v1/superuser/prune';

/** A server removes for a while at a time; all rounds mean the same builds. */
async function removeAll(client: Client, keepYoungerThan: string): Promise<Pruned> {
  let round = await client.post<Pruned>(path, { keep_younger_than: keepYoungerThan, confirm: true });
  const { before } = round;
  let sum = round;
  while (!round.done) {
    round = await client.post<Pruned>(path, { before, confirm: true });
    sum = {
      before,
      done: round.done,
      builds: sum.builds + round.builds,
      jobs: sum.jobs + round.jobs,
      attempts: sum.attempts + round.attempts,
      logs: sum.logs + round.logs,
      log_bytes: sum.log_bytes + round.log_bytes,
      archives: sum.archives + round.archives,
      uploads: sum.uploads + round.uploads,
      upload_bytes: sum.upload_bytes + round.upload_bytes,
    };
  }
  return sum;
}
