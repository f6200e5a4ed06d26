import { randomUUID } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The folder one account keeps for buildah: store, cache, temporary files, and configuration of its own, so that
 * the machine's container configuration changes nothing. Several processes may prepare and use it at once.
 *
 *   storage/   images and layers (also the build cache)      run/    locks and mount state of the store
 *   tmp/       scratch files; RUN's cache mounts live here   used/   one empty file per image, mtime = last use
 *   etc/       configuration                                 etc/bin/ comes first in PATH
 *   lock       held shared by every build, exclusively by cleaning
 */
export interface BuildahHome {
  readonly root: string;
  readonly storage: string;
  readonly run: string;
  readonly tmp: string;
  readonly used: string;
  readonly etc: string;
  readonly bin: string;
  readonly lock: string;
}

export type StorageDriver = 'overlay' | 'fuse-overlayfs' | 'vfs';

export interface HomeSettings {
  readonly storageDriver: StorageDriver;
  /** Absolute paths; undefined when not installed. */
  readonly slirp4netns: string | undefined;
  readonly fuseOverlayfs: string | undefined;
}

export function buildahHome(root: string): BuildahHome {
  return {
    root,
    storage: join(root, 'storage'),
    run: join(root, 'run'),
    tmp: join(root, 'tmp'),
    used: join(root, 'used'),
    etc: join(root, 'etc'),
    bin: join(root, 'etc', 'bin'),
    lock: join(root, 'lock'),
  };
}

export async function prepareHome(home: BuildahHome, settings: HomeSettings): Promise<void> {
  for (const folder of [home.root, home.storage, home.run, home.tmp, home.used, home.etc, home.bin]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  // registries.conf.d: an empty folder, in place of the machine's short names and mirrors.
  await mkdir(join(home.etc, 'registries.conf.d'), { recursive: true, mode: 0o700 });
  await writeFile(home.lock, '', { flag: 'a', mode: 0o600 });
  await keep(join(home.etc, 'storage.conf'), storageConf(home, settings));
  await keep(join(home.etc, 'containers.conf'), containersConf);
  await keep(join(home.etc, 'build-policy.json'), buildPolicy(home));
  await keep(join(home.etc, 'push-policy.json'), pushPolicy());
  await keep(join(home.etc, 'registries.conf'), registriesConf([]));
  if (settings.slirp4netns !== undefined) {
    await keep(join(home.bin, 'slirp4netns'), slirpWrapper(settings.slirp4netns), 0o700);
  }
}

/** Quoted for TOML. JSON's string escapes are a subset of TOML's. */
const quote = (text: string) => JSON.stringify(text);

function storageConf(home: BuildahHome, { storageDriver, fuseOverlayfs }: HomeSettings): string {
  const lines = [
    '[storage]',
    `driver = "${storageDriver === 'vfs' ? 'vfs' : 'overlay'}"`,
    `graphroot = ${quote(home.storage)}`,
    `rootless_storage_path = ${quote(home.storage)}`,
    `runroot = ${quote(home.run)}`,
  ];
  if (storageDriver === 'fuse-overlayfs' && fuseOverlayfs !== undefined) {
    lines.push('[storage.options.overlay]', `mount_program = ${quote(fuseOverlayfs)}`);
  }
  return `${lines.join('\n')}\n`;
}

const containersConf = '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n';

const anything = [{ type: 'insecureAcceptAnything' }];
const nothing = [{ type: 'reject' }];

/**
 * Base images come from registries. Everything else that FROM may name, variables replaced, would be read with the
 * worker's rights: folders, archives, a docker daemon, and this store, which holds what other builds pulled with
 * their credentials. buildah itself commits under `docker.io/library/<random>-tmp`.
 */
function buildPolicy({ storage }: BuildahHome): string {
  const own = ['overlay', 'vfs'].map((driver) => [`[${driver}@${storage}]docker.io/library`, anything]);
  const stored = { '': anything, [`[${storage}]`]: nothing, ...Object.fromEntries(own) };
  return policy({ docker: { '': anything }, 'containers-storage': stored });
}

/** A push reads from the store and nowhere else. */
const pushPolicy = () => policy({ 'containers-storage': { '': anything } });

function policy(transports: Record<string, unknown>): string {
  return `${JSON.stringify({ default: nothing, transports })}\n`;
}

export function registriesConf(insecure: readonly string[]): string {
  const lines = ['unqualified-search-registries = ["docker.io"]', 'short-name-mode = "disabled"'];
  for (const host of new Set(insecure)) {
    lines.push('[[registry]]', `location = ${quote(host)}`, 'insecure = true');
  }
  return `${lines.join('\n')}\n`;
}

/**
 * buildah 1.28 starts slirp4netns without --disable-host-loopback: a RUN step would reach everything that listens
 * on this machine's 127.0.0.1 under 10.0.2.2. buildah finds it in PATH, so this stands before the real one.
 */
function slirpWrapper(real: string): string {
  const quoted = `'${real.replaceAll("'", "'\\''")}'`;
  return `#!/bin/sh\nexec ${quoted} --disable-host-loopback --enable-sandbox --enable-seccomp "$@"\n`;
}

/** Writes a file unless it is so already; whole or not at all for those who read it meanwhile. */
async function keep(path: string, content: string, mode = 0o600): Promise<void> {
  const existing = await readFile(path, 'utf8').catch(() => undefined);
  if (existing === content) return;
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, content, { mode });
  await chmod(draft, mode);
  await rename(draft, path);
}
