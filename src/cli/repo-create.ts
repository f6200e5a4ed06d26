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
  await createRepository(client, name, flags);
  printLine(terminal.stdout, flags.json ? JSON.stringify({ repository: text }) : `Created ${text}`);
  return exitStatus.ok;
}

async function createRepository(
  client: Client,
  { namespace, name }: RepositoryName,
  options: RepoCreateFlags,
): Promise<void> {
  await client.post('/api/v1/repository', {
    namespace,
    repository: name,
    visibility: options.public ? 'public' : 'private',
    description: options.description ?? '',
  });
}

/** Makes the repository when there is none yet. */
export async function ensureRepository(client: Client, text: string): Promise<boolean> {
  const name = requireRepositoryName(text);
  try {
    await client.get(repositoryPath(name));
    return false;
  } catch (error) {
    if (!(error instanceof CliError) || error.status !== 404) throw error;
  }
  await createRepository(client, name, {});
  return true;
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
