import { basename, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type PackProgress, packContext } from '../context/pack.ts';
import { parseTag } from '../model/tag.ts';
import { parsePairs, readSecrets } from './build-request.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { type BuildView, type Client, repositoryPath } from './client.ts';
import { type Connection, connect, type ServerFlags } from './command.ts';
import { formatBytes, formatSpan } from './format.ts';
import { ProgressLine } from './progress-line.ts';
import { ensureRepository } from './repo-create.ts';
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
  readonly archiveUrl?: string;
  readonly cache: boolean;
  readonly push: boolean;
  readonly detach?: boolean;
}

/** `slipway build`: source to the server, build queued, log followed, digest printed. */
export async function build(terminal: Terminal, path: string, flags: BuildFlags): Promise<ExitStatus> {
  for (const tag of flags.tag ?? [])
    if (parseTag(tag) === undefined)
      throw new CliError(
        'usage',
        `"${tag}" is not a tag: letters, digits, "_", "." and "-", at most 128, not starting with "." or "-"`,
      );
  if (flags.git !== undefined && flags.archiveUrl !== undefined)
    throw new CliError('usage', 'Give --git or --archive-url, not both');
  if (flags.ref !== undefined && flags.git === undefined)
    throw new CliError('usage', '--ref goes with --git');
  const connection = await connect(terminal, flags);
  const { client } = connection;
  const remote = flags.git !== undefined || flags.archiveUrl !== undefined;
  const folder = resolve(terminal.cwd, path);
  const repository =
    flags.repo ?? defaultRepository(connection, remote ? (flags.git ?? flags.archiveUrl ?? '') : folder);
  const say = (line: string) => {
    if (!flags.json) printLine(terminal.stderr, line);
  };
  if (await ensureRepository(client, repository)) say(`Created the repository ${repository}`);
  const source = remote
    ? { ...remoteSource(flags), context: remoteContext(path), dockerfile_path: remoteDockerfile(flags.file) }
    : await uploadContext(terminal, client, folder, flags.file, say);
  const [namespace = '', ...name] = repository.split('/');
  const queued = await client.post<BuildView>(
    `${repositoryPath({ namespace, name: name.join('/') })}/build/`,
    {
      ...source,
      docker_tags: flags.tag ?? ['latest'],
      build_args: parsePairs('--build-arg', flags.buildArg),
      labels: parsePairs('--label', flags.label),
      secrets: await readSecrets(flags.secret),
      no_cache: !flags.cache,
      push: flags.push,
      ...(flags.target === undefined ? {} : { target: flags.target }),
      ...(flags.platform === undefined ? {} : { platforms: flags.platform }),
    },
  );
  if (flags.detach) {
    printLine(terminal.stdout, flags.json ? JSON.stringify(queued) : queued.id);
    return exitStatus.ok;
  }
  say(`Build ${queued.id} of ${repository} is queued`);
  return await watchBuild(terminal, client, queued, { json: flags.json === true });
}

function remoteDockerfile(file: string | undefined): string {
  return file === undefined ? '/Dockerfile' : file.startsWith('/') ? file : `/${file}`;
}

function remoteContext(path: string): string {
  return path === '.' ? '/' : path.startsWith('/') ? path : `/${path}`;
}

function remoteSource(flags: BuildFlags): Record<string, unknown> {
  if (flags.archiveUrl !== undefined) return { archive_url: flags.archiveUrl };
  const ref = flags.ref;
  const commit = ref !== undefined && /^[0-9a-f]{40}$/.test(ref);
  return { git: { url: flags.git, ...(ref === undefined ? {} : commit ? { sha: ref } : { ref }) } };
}

function defaultRepository({ username }: Connection, source: string): string {
  if (username === undefined)
    throw new CliError(
      'usage',
      'Name the repository with --repo namespace/name (a token from the environment has no user name here)',
    );
  const name = basename(source)
    .replace(/\.(git|zip|tar|tar\.gz|tgz)$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  if (name === '') throw new CliError('usage', 'Name the repository with --repo namespace/name');
  return `${username}/${name}`;
}

async function uploadContext(
  terminal: Terminal,
  client: Client,
  folder: string,
  file: string | undefined,
  say: (line: string) => void,
): Promise<Record<string, unknown>> {
  const started = performance.now();
  const progress = new ProgressLine(terminal, 'Uploading');
  let seen: PackProgress = { files: 0, bytes: 0 };
  const packed = await packContext({
    folder,
    // As other builders do: --file is relative to where the command runs.
    ...(file === undefined ? {} : { dockerfile: resolve(terminal.cwd, file) }),
    onWarning: (warning) => {
      progress.end();
      say(`Warning: ${warning}`);
    },
    onProgress: (now) => {
      seen = now;
      progress.update(now.bytes, undefined, `${now.files} files`);
    },
  });
  try {
    const drop = await client.post<{ url: string; file_id: string }>('/api/v1/filedrop/', {
      mimeType: 'application/gzip',
    });
    await client.upload(drop.url, packed.stream, 'application/gzip');
    say(
      `Uploaded ${seen.files} files, ${formatBytes(seen.bytes)}, in ${formatSpan(performance.now() - started)}`,
    );
    return { file_id: drop.file_id, context: '/', dockerfile_path: `/${packed.dockerfilePath}` };
  } finally {
    progress.end();
    packed.stream.destroy();
  }
}
