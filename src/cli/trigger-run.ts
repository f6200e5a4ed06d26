import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import type { BuildView } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { printLine, type Terminal } from './terminal.ts';
import { findTrigger, triggerPath } from './trigger.ts';
import { watchBuild } from './watch-build.ts';

export interface TriggerRunFlags extends ServerFlags {
  readonly branch?: string;
  readonly tag?: string;
  readonly commit?: string;
  readonly detach?: boolean;
}

/** Builds a branch, tag or commit by a trigger, and follows the log as `slipway build` does. */
export async function triggerRun(
  terminal: Terminal,
  repository: string,
  id: string | undefined,
  flags: TriggerRunFlags,
): Promise<ExitStatus> {
  const wish = wishOf(flags);
  const { client } = await connect(terminal, flags);
  const trigger = await findTrigger(client, repository, id);
  const queued = await client.post<BuildView>(`${triggerPath(repository, trigger)}/start`, wish);
  if (flags.detach) {
    printLine(terminal.stdout, flags.json ? JSON.stringify(queued) : queued.id);
    return exitStatus.ok;
  }
  if (!flags.json) printLine(terminal.stderr, `Build ${queued.id} of ${repository} is queued`);
  return await watchBuild(terminal, client, queued, { json: flags.json === true });
}

function wishOf({ branch, tag, commit }: TriggerRunFlags): Record<string, unknown> {
  const wishes = [
    branch === undefined ? undefined : { refs: { kind: 'branch', name: branch } },
    tag === undefined ? undefined : { refs: { kind: 'tag', name: tag } },
    commit === undefined ? undefined : { commit_sha: commit },
  ].filter((wish) => wish !== undefined);
  const [wish] = wishes;
  if (wish === undefined || wishes.length > 1)
    throw new CliError('usage', 'Say what to build: one of --branch, --tag and --commit');
  return wish;
}
