import { type ExitStatus, exitStatus } from './cli-error.ts';
import { type BuildView, buildPath } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { findBuild } from './find-build.ts';
import { formatBytes, formatTable } from './format.ts';
import { printLine, type Terminal } from './terminal.ts';

/** Everything about one build. */
export async function show(terminal: Terminal, id: string, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const found = await findBuild(client, id);
  const build = await client.get<BuildView>(buildPath(found));
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify(build, null, 2));
    return exitStatus.ok;
  }
  const rows: string[][] = [
    ['build', build.id],
    ['repository', `${build.repository.namespace}/${build.repository.name}`],
    ['phase', build.phase],
    ['started', build.started],
    ['tags', build.tags.join(', ')],
  ];
  if (build.manual_user) rows.push(['by', build.manual_user]);
  if (typeof build.queue_position === 'number') rows.push(['queue', `${build.queue_position} ahead of it`]);
  if (build.digest) rows.push(['digest', build.digest]);
  if (build.image_size) rows.push(['size', formatBytes(build.image_size)]);
  if (build.error) rows.push(['error', `${build.error_code ?? ''} ${build.error}`.trim()]);
  for (const line of formatTable(rows)) printLine(terminal.stdout, line);
  return exitStatus.ok;
}
