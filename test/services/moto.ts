import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access, mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const version = '5.2.5';

export type Moto = { readonly python: string } | { readonly missing: string };

/**
 * The Python that runs moto, a server that speaks AWS's protocols. It is installed once, into a virtual environment in
 * the user's cache folder. `missing` says why there is none; tests that need it are skipped with it.
 */
export async function findMoto(): Promise<Moto> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'slipway');
  const folder = join(cache, `test-moto-${version}`);
  const python = join(folder, 'bin', 'python');
  if (await isThere(python)) return { python };
  await mkdir(cache, { recursive: true });
  // Made aside, so that a run that is ended, or another one at the same time, leaves no half of it.
  const aside = join(cache, `.test-moto-${randomUUID()}`);
  try {
    await run('python3', ['-m', 'venv', aside], { timeout: 120_000 });
    await run(
      join(aside, 'bin', 'python'),
      ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `moto[server]==${version}`],
      { timeout: 600_000 },
    );
    await rename(aside, folder).catch(async (thrown: unknown) => {
      if (!(await isThere(python))) throw thrown;
    });
    return { python };
  } catch (thrown) {
    const { code, stderr } = thrown as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') return { missing: 'python3 is not installed' };
    const last = stderr?.trim().split('\n').at(-1) ?? String(thrown);
    return { missing: `moto[server] ${version} cannot be installed (${last})` };
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
