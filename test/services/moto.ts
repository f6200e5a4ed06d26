import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** moto with all that it needs, each in an exact version. */
const requirements = join(import.meta.dirname, 'moto-requirements.txt');

export type Moto = { readonly python: string } | { readonly missing: string };

/**
 * The Python that runs moto, a server that speaks AWS's protocols. It is installed once, into a virtual environment in
 * the user's cache folder. `missing` says why there is none; tests that need it are skipped with it.
 */
export async function findMoto(): Promise<Moto> {
  const version = /^moto==(\S+)$/m.exec(await readFile(requirements, 'utf8'))?.[1] ?? 'unknown';
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'slipway');
  const folder = join(cache, `test-moto-${version}`);
  const python = join(folder, 'bin', 'python');
  if (await isThere(python)) return { python };
  await mkdir(cache, { recursive: true });
  try {
    await using _lock = await lockFile(join(cache, 'test-moto.lock'));
    // Another test file may have made it meanwhile.
    if (!(await isThere(python))) await install(cache, folder);
    return { python };
  } catch (thrown) {
    const { code, stderr } = thrown as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') return { missing: 'python3 or flock is not installed' };
    const last = stderr?.trim().split('\n').at(-1) ?? String(thrown);
    return { missing: `moto ${version} cannot be installed (${last})` };
  }
}

/** Made aside, so that a run that is ended leaves no half of it where it is looked for. */
async function install(cache: string, folder: string): Promise<void> {
  const aside = join(cache, `.test-moto-${randomUUID()}`);
  try {
    await run('python3', ['-m', 'venv', aside], { timeout: 120_000 });
    await run(
      join(aside, 'bin', 'python'),
      ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', requirements],
      { timeout: 600_000 },
    );
    await rename(aside, folder);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** The operating system's lock, which ends with the process that holds it however that ends. */
async function lockFile(path: string): Promise<AsyncDisposable> {
  const holder = spawn('flock', [path, 'sh', '-c', 'echo held; cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const ended = once(holder, 'exit');
  ended.catch(() => {});
  await Promise.race([
    once(holder.stdout, 'data'),
    ended.then(() => Promise.reject(new Error(`${path} cannot be locked`))),
  ]);
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin.end();
      await ended;
    },
  };
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
