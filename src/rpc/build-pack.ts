import type { BuildPack } from '../manager/worker-sessions.ts';
import { parseHostKey } from '../model/host-key.ts';
import { parseAttemptId, parseBuildId } from '../model/ids.ts';
import type { BuildPack as WireBuildPack } from './generated/buildman.ts';
import { RpcError } from './rpc-error.ts';

// Workers import nothing of the manager: what they share with it they get here.
export type { WorkerCapabilities } from '../manager/worker-sessions.ts';

/** A build pack as a worker sees it: all but which job it is, which only its token knows. */
export type ReceivedBuildPack = Omit<BuildPack, 'identity'> & {
  readonly identity: Omit<BuildPack['identity'], 'jobId'>;
};

export function packToWire(pack: BuildPack, jobJwt: string): WireBuildPack {
  const { source, identity } = pack;
  return {
    jobJwt,
    buildPack:
      source.kind === 'package'
        ? { $case: 'packageUrl', packageUrl: source.url }
        : {
            $case: 'gitPackage',
            gitPackage: {
              url: source.url,
              sha: source.sha ?? '',
              privateKey: source.privateKey ?? '',
              ref: source.ref ?? '',
              token: source.token ?? '',
              username: source.username ?? '',
              lfs: source.lfs ?? false,
            },
          },
    packageIsPrivateUrl: source.kind === 'package' && source.ours,
    context: pack.context,
    dockerfilePath: pack.dockerfilePath,
    repository: pack.repository,
    registry: pack.registry,
    registryInsecure: pack.registryInsecure,
    pullToken: pack.pullToken,
    pushToken: pack.pushToken,
    tagNames: [...pack.tags],
    baseImage: pack.baseImage === undefined ? undefined : { insecure: false, ca: '', ...pack.baseImage },
    buildId: identity.buildId,
    attemptId: identity.attemptId,
    epoch: identity.epoch,
    buildArgs: pairs(pack.buildArgs),
    buildSecrets: pack.secrets.map(({ id, value }) => ({ id, value: Buffer.from(value) })),
    target: pack.target ?? '',
    platform: pack.platform,
    labels: pairs(pack.labels),
    registryCredentials: pack.registryCredentials.map((each) => ({ ...each, ca: each.ca ?? '' })),
    noCache: pack.noCache,
    push: pack.push,
    maxSeconds: pack.maxSeconds,
    maxSourceBytes: pack.maxSourceBytes,
    allowedPrivateHosts: [...pack.allowedPrivateHosts],
    gitHostKeys: [...pack.gitHostKeys],
  };
}

/** Throws RpcError `protocol` when the manager sent something this worker cannot work with. */
export function packFromWire(wire: WireBuildPack): { pack: ReceivedBuildPack; jobToken: string } {
  const buildId = parseBuildId(wire.buildId);
  const attemptId = parseAttemptId(wire.attemptId);
  if (
    wire.jobJwt === '' ||
    buildId === undefined ||
    attemptId === undefined ||
    wire.buildPack === undefined
  ) {
    throw new RpcError(
      'protocol',
      'The build manager sent a build pack without a job token, ids or a source. Is it a build manager of Slipway?',
    );
  }
  const { baseImage } = wire;
  const pack: ReceivedBuildPack = {
    identity: { buildId, attemptId, epoch: wire.epoch },
    source: sourceFromWire(wire.buildPack, wire.packageIsPrivateUrl),
    context: wire.context,
    dockerfilePath: wire.dockerfilePath,
    repository: wire.repository,
    registry: wire.registry,
    registryInsecure: wire.registryInsecure,
    pullToken: wire.pullToken,
    pushToken: wire.pushToken,
    tags: wire.tagNames,
    ...(baseImage === undefined || baseImage.username === ''
      ? {}
      : {
          baseImage: {
            username: baseImage.username,
            password: baseImage.password,
            registry: baseImage.registry,
          },
        }),
    registryCredentials: wire.registryCredentials.map(({ ca, ...each }) => ({
      ...each,
      ...(ca === '' ? {} : { ca }),
    })),
    buildArgs: Object.fromEntries(wire.buildArgs.map(({ name, value }) => [name, value])),
    secrets: wire.buildSecrets,
    labels: Object.fromEntries(wire.labels.map(({ name, value }) => [name, value])),
    ...(wire.target === '' ? {} : { target: wire.target }),
    platform: wire.platform,
    noCache: wire.noCache,
    push: wire.push,
    maxSeconds: wire.maxSeconds,
    maxSourceBytes: wire.maxSourceBytes,
    allowedPrivateHosts: wire.allowedPrivateHosts,
    gitHostKeys: wire.gitHostKeys.flatMap((key) => parseHostKey(key) ?? []),
  };
  return { pack, jobToken: wire.jobJwt };
}

function sourceFromWire(source: NonNullable<WireBuildPack['buildPack']>, ours: boolean): BuildPack['source'] {
  if (source.$case === 'packageUrl') return { kind: 'package', url: source.packageUrl, ours };
  const { url, sha, ref, privateKey, token, username, lfs } = source.gitPackage;
  return {
    kind: 'git',
    url,
    ...(sha === '' ? {} : { sha }),
    ...(ref === '' ? {} : { ref }),
    ...(privateKey === '' ? {} : { privateKey }),
    ...(token === '' ? {} : { token }),
    ...(username === '' ? {} : { username }),
    ...(lfs ? { lfs } : {}),
  };
}

function pairs(record: Readonly<Record<string, string>>): { name: string; value: string }[] {
  return Object.entries(record).map(([name, value]) => ({ name, value }));
}
