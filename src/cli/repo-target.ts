import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { repositoryPath } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { harmless } from './harmless-text.ts';
import { requireRepositoryName } from './repo-create.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface RepoTargetFlags extends ServerFlags {
  readonly registry?: string;
  readonly path?: string;
  readonly embedded?: boolean;
}

interface TargetView {
  readonly registry: string;
  readonly image: string;
}

/** Shows where the images of a repository are published; sets it when it was given. */
export async function repoTarget(
  terminal: Terminal,
  text: string,
  { registry, path, embedded, ...flags }: RepoTargetFlags,
): Promise<ExitStatus> {
  if (registry === undefined ? path !== undefined : embedded)
    throw new CliError('usage', 'Give --registry NAME, with --path PATH if you like, or --embedded');
  const repository = repositoryPath(requireRepositoryName(text));
  const { client } = await connect(terminal, flags);
  if (embedded) await client.delete(`${repository}/target`);
  const target =
    registry === undefined
      ? (await client.get<{ target: TargetView | null }>(repository)).target
      : await client.put<TargetView>(`${repository}/target`, {
          registry,
          ...(path === undefined ? {} : { path }),
        });
  const where =
    target === null
      ? 'the embedded registry'
      : `${harmless(target.image, false)} (registry ${harmless(target.registry, false)})`;
  printLine(terminal.stdout, flags.json ? JSON.stringify(target) : `${text} publishes to ${where}`);
  return exitStatus.ok;
}
