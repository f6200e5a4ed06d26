import { join } from 'node:path';
import type { BuildahHome } from './buildah-home.ts';
import type { EngineBuild, Isolation, PushTarget } from './engine.ts';

/** Where one command finds its private files; all below the attempt's scratch folder. */
export interface ScratchFiles {
  readonly authFile: string;
  readonly registriesConf: string;
  readonly idFile: string;
  /** A folder of certificates; there when a build has some. */
  readonly certificates: string;
  readonly digestFile: string;
}

export function scratchFiles(scratchDir: string): ScratchFiles {
  return {
    authFile: join(scratchDir, 'auth.json'),
    registriesConf: join(scratchDir, 'registries.conf'),
    idFile: join(scratchDir, 'image-id'),
    certificates: join(scratchDir, 'certificates'),
    digestFile: join(scratchDir, 'digest'),
  };
}

export interface BuildahCommand {
  readonly argv: [string, ...string[]];
  readonly env: Record<string, string>;
}

export interface CommandSettings {
  readonly home: BuildahHome;
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
  /** Proxies and certificates for buildah itself. */
  readonly extraEnv: Readonly<Record<string, string>>;
}

/** How commands are confined, once the machine is known. */
export interface ConfinedSettings extends CommandSettings {
  readonly proc: 'own' | 'outer';
}

export function buildCommand(
  request: EngineBuild,
  settings: CommandSettings & { readonly isolation: Isolation; readonly jobs: number },
): BuildahCommand {
  const files = scratchFiles(request.scratchDir);
  const { argv: buildArgs, env: buildEnv } = buildArguments(request.buildArgs);
  const argv: [string, ...string[]] = [
    ...buildah(settings),
    'build',
    '--layers',
    // Also removes the working containers of a build that fails; they would fill the disk.
    '--force-rm',
    // OCI configs cannot hold HEALTHCHECK, ONBUILD and SHELL: buildah drops them with a warning. Which of them a
    // base image brings is not known beforehand, and a format that changed between builds would change digests.
    '--format=docker',
    `--isolation=${settings.isolation === 'chroot' ? 'chroot' : 'rootless'}`,
    '--runtime=runc',
    `--jobs=${settings.jobs}`,
    `--pull=${pullFlag(request.pullPolicy ?? 'always')}`,
    `--signature-policy=${join(settings.home.etc, 'build-policy.json')}`,
    `--authfile=${files.authFile}`,
    `--iidfile=${files.idFile}`,
    `--file=${request.dockerfile}`,
  ];
  // Besides the machine's own: what is in there is added to them.
  if (request.registryAuthorities !== undefined) argv.push(`--cert-dir=${files.certificates}`);
  if (request.ignoreFile !== undefined) argv.push(`--ignorefile=${request.ignoreFile}`);
  if (request.target !== undefined) argv.push(`--target=${request.target}`);
  if (request.platform !== undefined) argv.push(`--platform=${request.platform}`);
  if (request.noCache === true) argv.push('--no-cache');
  if (request.network === 'none') argv.push('--network=none');
  for (const [name, value] of request.labels) argv.push(`--label=${name}=${value}`);
  for (const { id, path } of request.secrets) argv.push(`--secret=id=${id},src=${path}`);
  argv.push(...buildArgs, request.contextDir);
  return { argv, env: { ...buildEnv, ...environment(settings, files) } };
}

export function pushCommand(imageId: string, target: PushTarget, settings: CommandSettings): BuildahCommand {
  const files = scratchFiles(target.scratchDir);
  const argv: [string, ...string[]] = [
    ...buildah(settings),
    'push',
    // Tries are counted here, not there: one policy, and every try is in the log.
    // (0 would mean buildah's default of 3.)
    '--retry=1',
    '--retry-delay=1ms',
    `--signature-policy=${join(settings.home.etc, 'push-policy.json')}`,
    `--authfile=${files.authFile}`,
    `--digestfile=${files.digestFile}`,
    imageId,
    `docker://${target.registry}/${target.repository}:${target.tag}`,
  ];
  return { argv, env: environment(settings, files) };
}

export function housekeepingCommand(args: readonly string[], settings: CommandSettings): BuildahCommand {
  return {
    argv: [...buildah(settings), ...args],
    env: environment(settings, { registriesConf: join(settings.home.etc, 'registries.conf') }),
  };
}

function buildah({ home }: CommandSettings): [string, ...string[]] {
  return ['buildah', `--registries-conf-dir=${join(home.etc, 'registries.conf.d')}`];
}

/**
 * buildah runs as root of a user namespace made for it. Told so by the two `_CONTAINERS_` names, it keeps rootless
 * ways: without them it looks for its blob-info cache in /var, finds none, and compresses every layer at every push.
 */
function environment(
  { home, path, uid, gid, extraEnv }: CommandSettings,
  { registriesConf }: Pick<ScratchFiles, 'registriesConf'>,
): Record<string, string> {
  return {
    ...extraEnv,
    PATH: `${home.bin}:${path}`,
    HOME: home.root,
    LANG: 'C.UTF-8',
    TMPDIR: home.tmp,
    XDG_RUNTIME_DIR: home.run,
    CONTAINERS_STORAGE_CONF: join(home.etc, 'storage.conf'),
    CONTAINERS_CONF: join(home.etc, 'containers.conf'),
    CONTAINERS_REGISTRIES_CONF: registriesConf,
    _CONTAINERS_USERNS_CONFIGURED: 'done',
    _CONTAINERS_ROOTLESS_UID: String(uid),
    _CONTAINERS_ROOTLESS_GID: String(gid),
  };
}

/** Names that mean something to the shell, the loader, or buildah and what it starts. */
const reservedName =
  /^(?:PATH|HOME|USER|SHELL|TMPDIR|LANG|TZ|IFS|ENV|PS[0-9]|PWD|OLDPWD|NOTIFY_SOCKET|LISTEN_.*|(?:HTTPS?|NO|ALL|FTP)_PROXY|_?CONTAINERS?_.*|(?:LD|LC|XDG|STORAGE|BUILDAH|REGISTRY|REGISTRIES|DOCKER|SSL|SSH|DBUS|NODE|BASH|GLIBC|MALLOC|NETAVARK|AARDVARK)(?:_.*)?|GO(?:DEBUG|GC|MAXPROCS|MEMLIMIT|TRACEBACK|ROOT|COVERDIR|FIPS))$/i;
const environmentName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Values go through buildah's environment (`--build-arg NAME`), where no other account can read them, unlike the
 * process list. Names that would change what a program does there go as arguments, since an attacker chooses them.
 */
export function buildArguments(args: ReadonlyMap<string, string>): {
  readonly argv: readonly string[];
  readonly env: Record<string, string>;
} {
  const argv: string[] = [];
  const env: Record<string, string> = {};
  for (const [name, value] of args) {
    const fits = value.length <= longestEnvironmentValue && !value.includes('\0');
    if (environmentName.test(name) && !reservedName.test(name) && fits) {
      argv.push(`--build-arg=${name}`);
      env[name] = value;
    } else {
      argv.push(`--build-arg=${name}=${value}`);
    }
  }
  return { argv, env };
}

/** One string of the kernel's 128 KiB, less the name. */
const longestEnvironmentValue = 100_000;

function pullFlag(policy: NonNullable<EngineBuild['pullPolicy']>): string {
  switch (policy) {
    case 'always':
      return 'always';
    case 'missing':
      return 'false';
    case 'never':
      return 'never';
  }
}
