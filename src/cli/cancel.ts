import { type ExitStatus, exitStatus } from './cli-error.ts';
import { buildPath } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { findBuild } from './find-build.ts';
import { printLine, type Terminal } from './terminal.ts';

/** Cancels a build that waits or runs. */
export async function cancel(terminal: Terminal, id: string, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const build = await findBuild(client, id);
  await client.delete(buildPath(build));
  printLine(
    terminal.stdout,
    flags.json ? JSON.stringify({ id: build.id, cancelled: true }) : `Cancelled ${build.id}`,
  );
  return exitStatus.ok;
}
