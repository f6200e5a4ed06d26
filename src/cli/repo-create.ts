import { parseRepositoryName } from '../model/repository-name.ts';
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
  const { client } = await connect(terminal, flags);
  await createRepository(client, text, flags);
  printLine(terminal.stdout, flags.json ? JSON.stringify({ repository: text }) : `Created ${text}`);
  return exitStatus.ok;
}

export async function createRepository(
  client: Client,
  text: string,
  options: RepoCreateFlags,
): Promise<void> {
  const name = parseRepositoryName(text);
  if (name === undefined)
    throw new CliError(
      'usage',
      `"${text}" is not a repository name. Use namespace/name in lower case, e.g. team/web`,
    );
  await client.post('/api/v1/repository', {
    namespace: name.namespace,
    repository: name.name,
    visibility: options.public ? 'public' : 'private',
    description: options.description ?? '',
  });
}

/** Makes the repository when there is none yet. */
export async function ensureRepository(client: Client, text: string): Promise<boolean> {
  const name = parseRepositoryName(text);
  if (name === undefined)
    throw new CliError(
      'usage',
      `"${text}" is not a repository name. Use namespace/name in lower case, e.g. team/web`,
    );
  try {
    await client.get(repositoryPath(name));
    return false;
  } catch (error) {
    if (!(error instanceof CliError) || error.status !== 404) throw error;
  }
  await createRepository(client, text, {});
  return true;
}
