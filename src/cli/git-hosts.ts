import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatTable } from './format.ts';
import { printLine, type Terminal } from './terminal.ts';

interface GitHost {
  readonly server: string;
  readonly key_type: string;
  readonly fingerprint: string;
  readonly first_seen: string;
  readonly namespace: string;
}

interface GitHosts {
  readonly git_hosts: readonly GitHost[];
  readonly next_page: string | null;
}

const path = '/api/v1/superuser/git-hosts';

/** Which SSH servers of git repositories builds have seen, and what key each has to show. */
export async function listGitHosts(terminal: Terminal, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const all: GitHost[] = [];
  for (let next: string | null = ''; next !== null; ) {
    const query: string = next === '' ? '' : `&next_page=${encodeURIComponent(next)}`;
    const page: GitHosts = await client.get<GitHosts>(`${path}?limit=1000${query}`);
    all.push(...page.git_hosts);
    next = page.next_page;
  }
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify(all));
    return exitStatus.ok;
  }
  if (all.length === 0) printLine(terminal.stdout, 'No git server was seen by ssh yet.');
  const rows = all.map((host) => [
    host.server,
    host.key_type,
    host.fingerprint,
    host.first_seen,
    host.namespace,
  ]);
  if (rows.length > 0)
    for (const line of formatTable([['SERVER', 'TYPE', 'FINGERPRINT', 'FIRST SEEN', 'BY'], ...rows]))
      printLine(terminal.stdout, line);
  return exitStatus.ok;
}

/** For a server whose key was changed: the next build believes it again. */
export async function forgetGitHost(
  terminal: Terminal,
  server: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  await client.delete(`${path}/${encodeURIComponent(server)}`);
  printLine(
    terminal.stdout,
    flags.json
      ? JSON.stringify({ forgotten: server })
      : `Forgot the host key of ${server}. The next build takes the one that it shows then.`,
  );
  return exitStatus.ok;
}
