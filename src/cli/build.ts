import { basename, resolve } from 'node:path';
import { parseTag } from '../model/tag.ts';
import { parsePairs, readGitAccess, readSecrets } from './build-request.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { type BuildView, repositoryPath } from './client.ts';
import { type Connection, connect, type ServerFlags } from './command.ts';
import { ContextUpload } from './context-upload.ts';
import { ensureRepository, requireRepositoryName } from './repo-create.ts';
import { printLine, type Terminal } from './terminal.ts';
import { watchBuild } from './watch-build.ts';

export interface BuildFlags extends ServerFlags {
  readonly repo?: string;
  readonly tag?: readonly string[];
  readonly file?: string;
  readonly buildArg?: readonly string[];
  readonly secret?: readonly string[];
  readonly label?: readonly string[];
  readonly target?: string;
  readonly platform?: readonly string[];
  readonly git?: string;
  readonly ref?: string;
  readonly gitKey?: string;
  readonly gitTokenFile?: string;
  readonly gitUser?: string;
  readonly gitLfs?: boolean;
  readonly archiveUrl?: string;
  readonly cache: boolean;
  readonly push: boolean;
  readonly newestOnly?: boolean;
  readonly detach?: boolean;
}

/** `slipway build`: source to the server, build queued, log followed, digest printed. */
export async function build(terminal: Terminal, path: string, flags: BuildFlags): Promise<ExitStatus> {
  // What can be wrong without a server is found before anything is sent to one.
  checkFlags(flags);
  const wanted = await requestOf(terminal, flags);
  const access = await readGitAccess(terminal.cwd, flags);
  const connection = await connect(terminal, flags);
  const { client } = connection;
  const url = flags.git ?? flags.archiveUrl;
  const folder = resolve(terminal.cwd, path);
  const repository = flags.repo ?? (await defaultRepository(connection, url ?? folder));
  const say = (line: string) => {
    if (!flags.json) printLine(terminal.stderr, line);
  };
  const upload =
    url === undefined ? await ContextUpload.open(terminal, { folder, file: flags.file, say }) : undefined;
  let source: Record<string, unknown>;
  try {
    const created = await ensureRepository(client, repository);
    if (created !== undefined) say(created);
    source = upload === undefined ? remoteSource(path, flags, access) : await upload.send(client);
  } finally {
    upload?.close();
  }
  const queued = await client.post<BuildView>(`${repositoryPath(requireRepositoryName(repository))}/build/`, {
    ...source,
    ...wanted,
  });
  if (flags.detach) {
    printLine(terminal.stdout, flags.json ? JSON.stringify(queued) : queued.id);
    return exitStatus.ok;
  }
  say(`Build ${queued.id} of ${repository} is queued`);
  return await watchBuild(terminal, client, queued, { json: flags.json === true });
}

function checkFlags(flags: BuildFlags): void {
  for (const tag of flags.tag ?? [])
    if (parseTag(tag) === undefined)
      throw new CliError(
        'usage',
        `"${tag}" is not a tag: letters, digits, "_", "." and "-", at most 128, not starting with "." or "-"`,
      );
  if (flags.repo !== undefined) requireRepositoryName(flags.repo);
  if (flags.git !== undefined && flags.archiveUrl !== undefined)
    throw new CliError('usage', 'Give --git or --archive-url, not both');
  for (const [flag, given] of [
    ['--ref', flags.ref],
    ['--git-key', flags.gitKey],
    ['--git-token-file', flags.gitTokenFile],
    ['--git-user', flags.gitUser],
    ['--git-lfs', flags.gitLfs],
  ] as const)
    if (given !== undefined && flags.git === undefined)
      throw new CliError('usage', `${flag} goes with --git`);
}

/** What is asked for, wherever the source comes from. */
async function requestOf(terminal: Terminal, flags: BuildFlags): Promise<Record<string, unknown>> {
  return {
    docker_tags: flags.tag ?? ['latest'],
    build_args: parsePairs('--build-arg', flags.buildArg),
    labels: parsePairs('--label', flags.label),
    secrets: await readSecrets(terminal.cwd, flags.secret),
    no_cache: !flags.cache,
    push: flags.push,
    ...(flags.newestOnly === true ? { newest_only: true } : {}),
    ...(flags.target === undefined ? {} : { target: flags.target }),
    ...(flags.platform === undefined ? {} : { platforms: flags.platform }),
  };
}

/** A source the server fetches itself. PATH is the context in it, and --file a path from its root. */
function remoteSource(
  path: string,
  flags: BuildFlags,
  access: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const { git, ref, archiveUrl, file } = flags;
  const commit = ref !== undefined && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(ref);
  return {
    ...(git === undefined
      ? { archive_url: archiveUrl }
      : { git: { url: git, ...(ref === undefined ? {} : commit ? { sha: ref } : { ref }), ...access } }),
    context: path === '.' ? '/' : fromRoot(path),
    ...(file === undefined ? {} : { dockerfile_path: fromRoot(file) }),
  };
}

function fromRoot(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}

async function defaultRepository({ client, username }: Connection, source: string): Promise<string> {
  const name = basename(source.replace(/[?#].*$/, ''))
    .toLowerCase()
    .replace(/\.(git|zip|tar|tar\.gz|tgz)$/, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  if (name === '') throw new CliError('usage', 'Name the repository with --repo namespace/name');
  // A token from the environment has no user name here; the server knows whose it is.
  const owner = username ?? (await client.get<{ username: string }>('/api/v1/user/')).username;
  return `${owner}/${name}`;
}
