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
  const secrets = credentials ? (trigger.config.credentials ?? []) : [];
  const rows = [...rowsOf(trigger), ...secrets.map(({ name, value }) => [labelOf(name), value])];
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
    ...(trigger.faults ?? []).map((fault) => ['passed over', fault]),
    ...Object.entries(config).map(([name, value]) => [labelOf(name), textOf(value)]),
  ];
}

/** Words for people, as the rows above have them; what has none here is called as it is in the configuration. */
const labels: Readonly<Record<string, string>> = {
  dockerfile_path: 'Dockerfile',
  default_tag_from_ref: 'tag from ref',
  latest_for_default_branch: 'latest for default branch',
  branchtag_regex: 'branch regex',
  cron: 'schedule',
  build_args: 'build arguments',
  semver_tags: 'semver tags',
  lfs: 'Git LFS',
  git_url: 'git URL',
  hook_id: 'webhook id',
  deploy_key_id: 'deploy key id',
  'SSH Public Key': 'public key',
  'Webhook Endpoint URL': 'webhook URL',
};

function labelOf(name: string): string {
  return labels[name] ?? name.replaceAll('_', ' ');
}

/** As the flags of `trigger create` take it, several behind each other. */
function textOf(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.map(textOf).join(', ');
  if (typeof value !== 'object' || value === null) return String(value);
  if ('schedule' in value) return Object.values(value).join(' ');
  return Object.entries(value)
    .map(([name, each]) => `${name}=${each}`)
    .join(', ');
}
