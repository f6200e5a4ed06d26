import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';
import { findTrigger, triggerPath } from './trigger.ts';

interface Analysis {
  readonly status: string;
  readonly message: string | null;
  readonly faults: readonly string[];
}

/** Looks whether what a trigger names can be built; ends with 1 when it cannot. */
export async function triggerAnalyze(
  terminal: Terminal,
  repository: string,
  id: string | undefined,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const trigger = await findTrigger(client, repository, id);
  const { credentials: _secret, ...config } = trigger.config;
  const found = await client.post<Analysis>(`${triggerPath(repository, trigger)}/analyze`, { config });
  if (flags.json) printLine(terminal.stdout, JSON.stringify(found, null, 2));
  else {
    const unseen =
      trigger.service === 'custom-git' && found.status === 'analyzed'
        ? 'the settings only; what is in a custom-git repository shows when it is built: slipway trigger run'
        : null;
    const said = found.message ?? unseen;
    const message = said === null ? '' : `: ${harmless(said, false)}`;
    printLine(terminal.stdout, `${found.status}${message}`);
    for (const fault of found.faults) printLine(terminal.stdout, `passed over: ${harmless(fault, false)}`);
  }
  return found.status === 'error' ? exitStatus.userError : exitStatus.ok;
}
