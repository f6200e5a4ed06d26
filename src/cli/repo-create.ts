import { parseRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { type Client, repositoryPath } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface RepoCreateFlags extends ServerFlags {
  readonly public?: boolean;
  readonly description?: string;
}

export async function repoCreate(
  terminal: Terminal,
  text: string,
  flags: RepoCreateFlags,
): Promise<ExitStatus> {
  const name = requireRepositoryName(text);
  const { client } = await connect(terminal, flags);
  const { namespace_created } = await createRepository(client, name, flags);
  if (flags.json) printLine(terminal.stdout, JSON.stringify({ repository: text, namespace_created }));
  else printLine(terminal.stdout, createdWords(text, namespace_created));
  return exitStatus.ok;
}

interface Created {
  /** Absent: an older server. */
  readonly namespace_created?: boolean;
}

async function createRepository(
  client: Client,
  { namespace, name }: RepositoryName,
  options: RepoCreateFlags,
): Promise<Created> {
  return await client.post<Created>('/api/v1/repository', {
    namespace,
    repository: name,
    visibility: options.public ? 'public' : 'private',
    description: options.description ?? '',
  });
}

/** For superusers a namespace that is not there comes to be; who mistyped one has to see it. */
function createdWords(text: string, isNamespaceNew: boolean | undefined): string {
  if (isNamespaceNew !== true) return `Created the repository ${text}`;
  const [namespace = ''] = text.split('/');
  return `Created the organization ${namespace}, which there was not, and the repository ${text}`;
}

/** Makes the repository when there is none yet. Says what was made; undefined: it was there. */
export async function ensureRepository(client: Client, text: string): Promise<string | undefined> {
  const name = requireRepositoryName(text);
  try {
    await client.get(repositoryPath(name));
    return undefined;
  } catch (error) {
    if (!(error instanceof CliError) || error.status !== 404) throw error;
  }
  const { namespace_created } = await createRepository(client, name, {});
  return createdWords(text, namespace_created);
}

/** Throws `usage`. */
export function requireRepositoryName(text: string): RepositoryName {
  const name = parseRepositoryName(text);
  if (name === undefined)
    throw new CliError(
      'usage',
      `"${text}" is not a repository name. Use namespace/name in lower case, e.g. team/web`,
    );
  return name;
}
