import { readdir, readFile } from 'node:fs/promises';

export interface FoundProcess {
  readonly pid: number;
  readonly command: string;
}

/** Processes of a run: those with its mark in their environment, or its folder in their command line. */
export async function processesOf(mark: string, folder: string): Promise<FoundProcess[]> {
  const found: FoundProcess[] = [];
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    // A process that ends meanwhile is none.
    const [environment, command, stat] = await Promise.all(
      ['environ', 'cmdline', 'stat'].map((part) => readFile(`/proc/${pid}/${part}`, 'utf8').catch(() => '')),
    );
    const state = stat?.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    if (state === 'Z' || state === 'X') continue;
    if (environment?.includes(mark) || command?.includes(folder))
      found.push({ pid, command: (command ?? '').replaceAll('\0', ' ').trim() });
  }
  return found;
}

/** Attempts whose worker has a process of its own that lives, whatever its host knows of it. */
export async function attemptsOfProcesses(folder: string): Promise<ReadonlySet<string>> {
  const attempts = new Set<string>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    const words = command.split('\0');
    const module = words.findIndex((word) => word.endsWith('/worker-process.ts'));
    const attemptId = words[module + 1];
    if (module >= 0 && attemptId !== undefined && words[module + 2]?.startsWith(folder) === true)
      attempts.add(attemptId);
  }
  return attempts;
}
