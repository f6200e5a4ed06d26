import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { printTable } from './print-table.ts';
import type { Terminal } from './terminal.ts';
import { stateOf, triggersOf } from './trigger.ts';
import { withoutCredentials } from './trigger-show.ts';

/** The build triggers of a repository. */
export async function triggerList(
  terminal: Terminal,
  repository: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const triggers = await triggersOf(client, repository);
  printTable(terminal, triggers.map(withoutCredentials), {
    json: flags.json === true,
    empty: `No build triggers yet. Make one with: slipway trigger create ${repository}`,
    head: ['ID', 'SERVICE', 'STATE', 'SOURCE'],
    row: (trigger) => [
      trigger.id.slice(0, 8),
      trigger.service,
      stateOf(trigger),
      trigger.build_source ?? '-',
    ],
  });
  return exitStatus.ok;
}
