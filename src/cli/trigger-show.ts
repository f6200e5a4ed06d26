import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatTable, formatWhen } from './format.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';
import { findTrigger, stateOf, type TriggerView } from './trigger.ts';

export interface TriggerShowFlags extends ServerFlags {
  /** What is installed by hand, with its secrets. */
  readonly credentials?: boolean;
}

/** Everything about one build trigger; what is secret only when it was asked for. */
export async function triggerShow(
  terminal: Terminal,
  repository: string,
  id: string | undefined,
  { credentials = false, ...flags }: TriggerShowFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const trigger = await findTrigger(client, repository, id);
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify(credentials ? trigger : withoutCredentials(trigger), null, 2));
    return exitStatus.ok;
  }
  const rows = [
    ...rowsOf(trigger),
    ...(credentials ? (trigger.config.credentials ?? []).map(({ name, value }) => [name, value]) : []),
  ];
  for (const line of formatTable(rows.map((row) => row.map((cell) => harmless(cell, false)))))
    printLine(terminal.stdout, line);
  return exitStatus.ok;
}

export function withoutCredentials(trigger: TriggerView): TriggerView {
  const { credentials: _secret, ...config } = trigger.config;
  return { ...trigger, config };
}

function rowsOf(trigger: TriggerView): string[][] {
  const { credentials: _shownApart, build_source: _shownAbove, ...config } = trigger.config;
  return [
    ['trigger', trigger.id],
    ['service', trigger.service],
    ['state', stateOf(trigger)],
    ['source', trigger.build_source ?? '-'],
    ...(trigger.repository_url === null ? [] : [['see', trigger.repository_url]]),
    ...(trigger.connected_user === undefined ? [] : [['connected by', trigger.connected_user]]),
    ...(trigger.pull_robot === undefined ? [] : [['pulls as', trigger.pull_robot.name]]),
    ['created', formatWhen(trigger.created)],
    ...Object.entries(config).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  ];
}
