import { spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Programs of the control plane that are built from the module in this folder. */
const programs = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;

/** Where the programs are, or why they are not there. */
export type Binaries = { readonly folder: string } | { readonly missing: string };

function pinned(pattern: RegExp): string {
  const found = pattern.exec(readFileSync(join(import.meta.dirname, 'go.mod'), 'utf8'))?.[1];
  if (found === undefined) throw new Error(`test/kubernetes/go.mod has no line like ${pattern}`);
  return found;
}

export function kubernetesVersion(): string {
  return pinned(/k8s\.io\/kubernetes (v[0-9.]+)\b/);
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'slipway-test');
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Looks for what a former run built; builds nothing. Tests that need it are skipped when it says `missing`. */
export function findBinaries(): Binaries {
  const folder = join(cacheFolder(), `kubernetes-${kubernetesVersion()}`);
  if (programs.every((program) => isProgram(join(folder, program)))) return { folder };
  return {
    missing: `Kubernetes ${kubernetesVersion()} is not built yet (npm run test:kubernetes does that)`,
  };
}

export interface BuildOptions {
  /** Told each thing that is done, one line at a time. */
  readonly report: (line: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Builds the programs unless they are there: once a machine and version, in the user's cache folder, by one process at a
 * time. The folder appears whole or not at all. With an empty Go cache it takes two cores about a quarter of an hour.
 *
 * @throws when the build fails; a machine without a fitting Go is no failure, but `missing`
 */
export async function buildBinaries({ report, signal }: BuildOptions): Promise<Binaries> {
  const found = findBinaries();
  if ('folder' in found) return found;
  const goMissing = await lackOfGo();
  if (goMissing !== undefined) return { missing: goMissing };
  const version = kubernetesVersion();
  const cache = cacheFolder();
  mkdirSync(cache, { recursive: true });
  report(`building Kubernetes ${version} in ${cache}, which takes a while, but only once`);
  const [, major, minor] = /^v(\d+)\.(\d+)\./.exec(version) ?? [];
  const stamp = { gitVersion: version, gitMajor: major, gitMinor: minor };
  const flags = [
    '-s -w',
    ...Object.entries(stamp).map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`),
  ];
  // The lock is the process's own, so nobody has to clear it away; what a killed build left is removed by the next one.
  const script = `
    cache=$1 target=$2; shift 2
    [ -d "$cache/$target" ] && exit 0
    rm -rf "$cache"/.building-*
    aside=$cache/.building-$$
    mkdir "$aside" && go build -o "$aside/" "$@" && mv -T "$aside" "$cache/$target"`;
  const lock = join(cache, '.lock');
  await run(
    'flock',
    [
      ...[lock, 'sh', '-c', script, 'build', cache, `kubernetes-${version}`],
      ...['-mod=readonly', '-trimpath', `-ldflags=${flags.join(' ')}`],
      ...programs.map((program) => `k8s.io/kubernetes/cmd/${program}`),
    ],
    signal,
  );
  return findBinaries();
}

/** Undefined: this machine's Go can build what is pinned. */
async function lackOfGo(): Promise<string | undefined> {
  const wanted = pinned(/^go ([0-9.]+)$/m);
  let version: string;
  try {
    version = await run('go', ['env', 'GOVERSION']);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return 'Go is not on this machine';
    throw thrown;
  }
  const [, major = 0, minor = 0] = (/^go(\d+)\.(\d+)/.exec(version.trim()) ?? []).map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  const fits = major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  return fits ? undefined : `this machine has ${version.trim()}, and Kubernetes needs Go ${wanted} or newer`;
}

async function run(command: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
  const child = spawn(command, args, {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, CGO_ENABLED: '0', GOTOOLCHAIN: 'local' },
    // A group of its own: Go's compilers are children of children.
    detached: true,
  });
  const end = () => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
  };
  signal?.addEventListener('abort', end, { once: true });
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => {
    output += bytes.toString();
  });
  try {
    const status = await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    signal?.throwIfAborted();
    if (status !== 0)
      throw new Error(`${command} ${args.slice(0, 2).join(' ')}… ended with status ${status}`);
    return output;
  } finally {
    signal?.removeEventListener('abort', end);
  }
}
