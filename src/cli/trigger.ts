import { CliError } from './cli-error.ts';
import { type Client, repositoryPath } from './client.ts';
import { requireRepositoryName } from './repo-create.ts';

/** The view of a build trigger that the REST API gives; only what the CLI shows. */
export interface TriggerView {
  readonly id: string;
  readonly service: string;
  readonly is_active: boolean;
  readonly build_source: string | null;
  readonly repository_url: string | null;
  readonly config: Readonly<Record<string, unknown>> & {
    readonly credentials?: readonly { readonly name: string; readonly value: string }[];
  };
  readonly enabled: boolean;
  readonly disabled_reason: string | null;
  readonly pull_robot?: { readonly name: string };
  readonly connected_user?: string;
  /** ISO 8601. */
  readonly created: string;
  readonly faults?: readonly string[];
}

/** Throws `usage`. */
export function triggersPath(repository: string): string {
  return `${repositoryPath(requireRepositoryName(repository))}/trigger`;
}

export function triggerPath(repository: string, { id }: Pick<TriggerView, 'id'>): string {
  return `${triggersPath(repository)}/${id}`;
}

export async function triggersOf(client: Client, repository: string): Promise<readonly TriggerView[]> {
  return (await client.get<{ triggers: TriggerView[] }>(`${triggersPath(repository)}/`)).triggers;
}

/** The trigger a person means by a whole id or its first characters; without one, the only trigger there is. */
export async function findTrigger(
  client: Client,
  repository: string,
  text: string | undefined,
): Promise<TriggerView> {
  if (text !== undefined && !/^[0-9a-f-]{4,36}$/.test(text))
    throw new CliError(
      'usage',
      `"${text}" is not the id of a build trigger. List them with: slipway trigger list ${repository}`,
    );
  const all = await triggersOf(client, repository);
  const [first, second] = all.filter(({ id }) => text === undefined || id.startsWith(text));
  if (first === undefined)
    throw new CliError(
      'refused',
      `${repository} has no build trigger${text === undefined ? '' : ` ${text}`}. Make one with: slipway trigger create ${repository}`,
    );
  if (second !== undefined)
    throw new CliError(
      'usage',
      text === undefined
        ? `${repository} has more than one build trigger. Say which: slipway trigger list ${repository}`
        : `More than one build trigger starts with ${text}. Give more characters.`,
    );
  return first;
}

/** On, or why not. */
export function stateOf({ is_active, enabled, disabled_reason }: TriggerView): string {
  if (!is_active) return 'not active';
  return enabled ? 'on' : `off (${disabled_reason ?? 'user_toggled'})`;
}
