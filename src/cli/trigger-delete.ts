import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';
import { findTrigger, triggerPath } from './trigger.ts';

/** Deletes a build trigger; says what is left at the host to be removed by hand. */
export async function triggerDelete(
  terminal: Terminal,
  repository: string,
  id: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const trigger = await findTrigger(client, repository, id);
  const answer = await client.remove<{ left_at_host: readonly string[] }>(triggerPath(repository, trigger));
  const left = answer?.left_at_host ?? [];
  for (const line of left) printLine(terminal.stderr, `slipway: ${harmless(line, false)}`);
  printLine(
    terminal.stdout,
    flags.json
      ? JSON.stringify({ id: trigger.id, deleted: true, left_at_host: left })
      : `Deleted the build trigger ${trigger.id}`,
  );
  return exitStatus.ok;
}
