import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { printLine, type Terminal } from './terminal.ts';
import { findTrigger, type TriggerView, triggerPath } from './trigger.ts';
import { withoutCredentials } from './trigger-show.ts';

/** Switches a build trigger on or off. On also brings one back that failures had switched off. */
export async function triggerSwitch(
  terminal: Terminal,
  repository: string,
  id: string | undefined,
  enabled: boolean,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const trigger = await findTrigger(client, repository, id);
  const after = await client.put<TriggerView>(triggerPath(repository, trigger), { enabled });
  printLine(
    terminal.stdout,
    flags.json
      ? JSON.stringify(withoutCredentials(after))
      : `The build trigger ${after.id} is ${after.enabled ? 'on' : 'off'}`,
  );
  return exitStatus.ok;
}
