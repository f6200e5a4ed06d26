import { posix } from 'node:path';
import { parseGitUrl } from '../egress/git-url.ts';
import type { HostKeys } from '../host-key/host-keys.ts';
import type { Build } from '../model/build.ts';
import type { HostKey } from '../model/host-key.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import { splitSecrets } from '../model/source-credentials.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import type { BaseImageCredentials } from './base-image-credentials.ts';
import { ManagerError } from './manager-error.ts';
import type { PushRight, RegistryCredentials } from './registry-credentials.ts';
import type { SourceLinks } from './source-links.ts';
import type { BuildPack, WorkerIdentity } from './worker-sessions.ts';

/** What every build pack of this installation says. */
export interface BuildSite {
  /** host[:port], as images are named. */
  readonly registryHost: string;
  /** The registry speaks plain HTTP. */
  readonly registryInsecure: boolean;
  /** Bytes a source may have, packed or not. */
  readonly maxSourceBytes: number;
  /** Hosts and CIDR blocks that URLs of users may lead to although they are private. */
  readonly allowedPrivateHosts: readonly string[];
}

export interface BuildPackOptions {
  readonly queue: Pick<BuildQueue, 'secrets'>;
  readonly links: SourceLinks;
  readonly credentials: RegistryCredentials;
  readonly baseImages?: BaseImageCredentials | undefined;
  readonly hostKeys: Pick<HostKeys, 'known'>;
  readonly site: BuildSite;
}

export interface PackRequest {
  readonly identity: WorkerIdentity;
  readonly build: Build;
  readonly platform: string;
  readonly byDigest: boolean;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  readonly maxSeconds: number;
}

/** In whose name a build pulls: the robot's that it was given, else that of whoever asked for it. */
export function askerOf({ pullRobot, manualUser }: Pick<Build, 'pullRobot' | 'manualUser'>): {
  readonly asker?: string;
} {
  const asker = pullRobot ?? manualUser;
  return asker === undefined ? {} : { asker };
}

/** Puts together what a worker needs for its attempt. Throws ManagerError `source-missing`. */
export async function buildPack(
  { identity, build, platform, byDigest, expiresAt, maxSeconds }: PackRequest,
  { queue, links, credentials, hostKeys, baseImages, site }: BuildPackOptions,
): Promise<BuildPack> {
  const { secrets, ...opening } = splitSecrets(await queue.secrets(build.id));
  const source = await packSource(identity, build, links, opening);
  const tokens = await credentials.issue({
    identity,
    repository: build.repository,
    push: pushRight(build, byDigest),
    untrusted: build.untrusted === true,
    expiresAt,
    ...(build.untrusted === true ? {} : askerOf(build)),
  });
  return {
    identity,
    source,
    ...packPaths(build),
    repository: formatRepositoryName(build.repository),
    registry: site.registryHost,
    registryInsecure: site.registryInsecure,
    ...tokens,
    registryCredentials:
      build.untrusted === true ? [] : ((await baseImages?.ofNamespace(build.repository.namespace)) ?? []),
    tags: build.tags,
    buildArgs: build.buildArgs,
    secrets,
    labels: build.labels,
    ...(build.target === undefined ? {} : { target: build.target }),
    platform,
    noCache: build.noCache,
    push: build.push,
    maxSeconds,
    maxSourceBytes: site.maxSourceBytes,
    allowedPrivateHosts: site.allowedPrivateHosts,
    gitHostKeys: source.kind === 'git' ? await hostKeys.known(serverOf(source.url)) : [],
  };
}

function pushRight({ push, tags }: Pick<Build, 'push' | 'tags'>, byDigest: boolean): PushRight {
  if (!push) return { kind: 'nothing' };
  return byDigest ? { kind: 'by-digest' } : { kind: 'tags', tags };
}

async function packSource(
  identity: WorkerIdentity,
  { source }: Build,
  links: SourceLinks,
  { credentials, archiveUrl }: Omit<ReturnType<typeof splitSecrets>, 'secrets'>,
): Promise<BuildPack['source']> {
  switch (source.kind) {
    case 'upload': {
      const url = await links.packageUrl(identity, source.uploadId);
      if (url !== undefined) return { kind: 'package', url, ours: true };
      throw new ManagerError(
        'source-missing',
        'The uploaded source of this build is not there any more (uploads are kept for a limited time). Upload it and build again.',
      );
    }
    case 'archive':
      return { kind: 'package', url: archiveUrl ?? source.url, ours: false };
    case 'git':
      return { ...source, ...credentials };
  }
}

/** The server of a git URL; undefined when it cannot be told here, and the worker will say what is wrong with it. */
function serverOf(url: string): Pick<HostKey, 'host' | 'port'> | undefined {
  try {
    return parseGitUrl(url);
  } catch {
    return undefined;
  }
}

/**
 * Context and Dockerfile as a worker wants them: the Dockerfile's path relative to the context. When the Dockerfile
 * does not lie below the context, its folder becomes the context.
 */
export function packPaths({
  context,
  dockerfilePath,
}: Pick<Build, 'context' | 'dockerfilePath'>): Pick<BuildPack, 'context' | 'dockerfilePath'> {
  const folder = posix.resolve('/', context);
  const file = posix.resolve('/', dockerfilePath);
  const below = folder === '/' ? file.slice(1) : file.slice(folder.length + 1);
  if (folder === '/' || file.startsWith(`${folder}/`)) return { context: folder, dockerfilePath: below };
  return { context: posix.dirname(file), dockerfilePath: posix.basename(file) };
}
