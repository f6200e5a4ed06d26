import { type ExitStatus, exitStatus } from './cli-error.ts';
import { repositoryPath } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { requireRepositoryName } from './repo-create.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface RepositoryLimitsFlags extends ServerFlags {
  readonly concurrency?: number;
}

interface RepositoryLimits {
  readonly concurrency: number;
}

/** Shows how many builds of a repository may run at once; sets it when it was given. */
export async function limitsRepo(
  terminal: Terminal,
  text: string,
  { concurrency, ...flags }: RepositoryLimitsFlags,
): Promise<ExitStatus> {
  const path = `${repositoryPath(requireRepositoryName(text))}/limits`;
  const { client } = await connect(terminal, flags);
  const limits =
    concurrency === undefined
      ? await client.get<RepositoryLimits>(path)
      : await client.put<RepositoryLimits>(path, { concurrency });
  printLine(
    terminal.stdout,
    flags.json
      ? JSON.stringify(limits)
      : `${text}: ${limits.concurrency} ${limits.concurrency === 1 ? 'build' : 'builds'} at once`,
  );
  return exitStatus.ok;
}
