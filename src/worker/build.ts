import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { PushedImage } from '../model/attempt.ts';
import { parseImageReference } from '../model/image-reference.ts';
import type { ReceivedBuildPack } from '../rpc/build-pack.ts';
import { readDockerfile } from './engine/dockerfile-check.ts';
import type {
  BuildSecret,
  Engine,
  EngineEvents,
  EngineReport,
  RegistryCredentials,
} from './engine/engine.ts';
import { fetchSource } from './fetch-source.ts';
import type { LogPipe } from './log/log-pipe.ts';
import type { Stages } from './stages.ts';
import type { Workspace } from './workspace.ts';

export interface BuildOptions {
  readonly pack: ReceivedBuildPack;
  readonly engine: Engine;
  readonly workspace: Workspace;
  readonly pipe: LogPipe;
  readonly stages: Stages;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The user name that goes with the tokens of a build pack. */
const tokenUser = '$token';

/**
 * From build pack to pushed image. Undefined: nothing was to be pushed. Throws SourceError or EngineError; when it
 * settles nothing it started still runs.
 */
export async function build(options: BuildOptions): Promise<PushedImage | undefined> {
  const { pack, engine, workspace, pipe, stages, clock, signal } = options;
  const say = (text: string): Promise<void> => pipe.say(text);
  const [source, report] = await bothOrFirstFailure(
    fetchSource({
      pack,
      workspace,
      clock,
      say,
      report: (gitHostKeys) => stages.reach('unpacking', { gitHostKeys }),
      signal,
    }),
    engine.probe(signal),
  );
  await say(describe(report));
  for (const warning of report.warnings) await say(`Warning: ${warning}`);

  const { baseImages } = await readDockerfile(source.dockerfile, {
    title: `${report.name} ${report.version}`,
    features: report.features,
  });
  const [baseImage] = baseImages;
  const pulls = baseImage === undefined ? {} : { pullMetadata: metadataOf(baseImage, pack) };
  const commit = source.commit === undefined ? {} : { commit: source.commit };
  const events: EngineEvents = {
    write: (bytes) => pipe.write(bytes),
    async phase(phase) {
      void stages.reach(phase, phase === 'pulling' ? { ...pulls, ...commit } : commit);
    },
  };
  const image = await engine.build(
    {
      contextDir: source.contextDir,
      dockerfile: source.dockerfile,
      ...(source.ignoreFile === undefined ? {} : { ignoreFile: source.ignoreFile }),
      scratchDir: workspace.scratch,
      ...(pack.target === undefined ? {} : { target: pack.target }),
      buildArgs: new Map(Object.entries(pack.buildArgs)),
      secrets: await writeSecrets(pack, workspace),
      labels: new Map(Object.entries(pack.labels)),
      ...(pack.platform === '' ? {} : { platform: pack.platform }),
      pullCredentials: pullCredentials(pack),
      insecureRegistries: insecureRegistries(pack),
      ...authorities(pack),
      noCache: pack.noCache,
    },
    events,
    signal,
  );
  pipe.endOutput();
  if (!pack.push) return undefined;

  const { digest, size } = await engine.push(
    image,
    {
      registry: pack.registry,
      repository: pack.repository,
      tag: `slipway-${pack.identity.attemptId}`,
      credentials: { registry: pack.registry, username: tokenUser, password: pack.pushToken },
      insecure: pack.registryInsecure,
      scratchDir: workspace.scratch,
    },
    events,
    signal,
  );
  pipe.endOutput();
  return { digest, size };
}

/** Waits for both, so that neither goes on in the background; the first failure is the one that is told. */
async function bothOrFirstFailure<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  try {
    return await Promise.all([a, b]);
  } catch (thrown) {
    await Promise.allSettled([a, b]);
    throw thrown;
  }
}

function describe({ name, version, isolation, storageDriver }: EngineReport): string {
  return `Building with ${name} ${version} (isolation ${isolation}, storage ${storageDriver}).`;
}

function pullCredentials(pack: ReceivedBuildPack): RegistryCredentials[] {
  const { registry, pullToken, baseImage, registryCredentials } = pack;
  const own = pullToken === '' ? [] : [{ registry, username: tokenUser, password: pullToken }];
  const others = registryCredentials
    .filter((each) => hostOf(each.registry) !== registry)
    .map(({ registry: place, username, password }) => ({ registry: place, username, password }));
  if (baseImage === undefined) return [...own, ...others];
  const base = { ...baseImage, registry: baseImage.registry === '' ? registry : baseImage.registry };
  // One registry, two sets: those that were chosen for the base image know more than the build's own repository.
  return [...[...own, ...others].filter((credentials) => credentials.registry !== base.registry), base];
}

/** Credentials may be for what lies below a path of a host. */
function hostOf(registry: string): string {
  return registry.split('/', 1)[0] ?? registry;
}

function insecureRegistries({
  registry,
  registryInsecure,
  registryCredentials,
}: ReceivedBuildPack): string[] {
  const others = registryCredentials.filter(({ insecure }) => insecure).map((each) => hostOf(each.registry));
  return [...(registryInsecure ? [registry] : []), ...others];
}

function authorities({ registryCredentials }: ReceivedBuildPack): { registryAuthorities?: string } {
  const all = new Set(registryCredentials.flatMap(({ ca }) => (ca === undefined ? [] : [ca.trim()])));
  return all.size === 0 ? {} : { registryAuthorities: `${[...all].join('\n')}\n` };
}

/** One file a secret, numbered: an id may hold anything. */
async function writeSecrets({ secrets }: ReceivedBuildPack, workspace: Workspace): Promise<BuildSecret[]> {
  if (secrets.length === 0) return [];
  const folder = join(workspace.scratch, 'secrets');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return await Promise.all(
    secrets.map(async ({ id, value }, index) => {
      const path = join(folder, String(index));
      await writeFile(path, value, { mode: 0o600 });
      return { id, path };
    }),
  );
}

/** What the phase entry of the log says about the base image; a name with variables in it is left as written. */
function metadataOf(name: string, pack: ReceivedBuildPack): Record<string, string> {
  const image = parseImageReference(name);
  const username = pack.baseImage?.username;
  return {
    registry_url: image?.registry ?? '',
    base_image: image?.repository ?? name,
    base_image_tag: image === undefined ? '' : (image.digest ?? image.tag ?? 'latest'),
    ...(username === undefined ? {} : { pull_username: username }),
  };
}
