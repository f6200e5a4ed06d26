import { type ExitStatus, exitStatus } from './cli-error.ts';
import { type BuildView, repositoryPath } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatTable, formatWhen } from './format.ts';
import { requireRepositoryName } from './repo-create.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface BuildsFlags extends ServerFlags {
  readonly repo?: string;
  readonly limit: number;
}

/** The newest builds, of one repository or of all this person may see. */
export async function builds(terminal: Terminal, flags: BuildsFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const list = await client.get<{ builds: BuildView[] }>(`${listPath(flags.repo)}?limit=${flags.limit}`);
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify(list.builds, null, 2));
    return exitStatus.ok;
  }
  if (list.builds.length === 0) printLine(terminal.stdout, 'No builds yet. Start one with: slipway build .');
  const rows = list.builds.map((build) => [
    build.id.slice(0, 8),
    build.phase,
    `${build.repository.namespace}/${build.repository.name}`,
    build.tags.join(','),
    formatWhen(build.started),
  ]);
  if (rows.length > 0)
    for (const line of formatTable([['ID', 'PHASE', 'REPOSITORY', 'TAGS', 'STARTED'], ...rows]))
      printLine(terminal.stdout, line);
  return exitStatus.ok;
}

function listPath(repo: string | undefined): string {
  if (repo === undefined) return '/api/v1/builds/';
  return `${repositoryPath(requireRepositoryName(repo))}/build/`;
}
