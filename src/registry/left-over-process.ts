import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process that a pid alone does not tell from a later one with the same number. */
interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot, from /proc/<pid>/stat. */
  readonly startTime: string;
}

/** Notes a child, so that the next start can find it should this process die first. */
export async function recordProcess(file: string, pid: number): Promise<void> {
  const startTime = await startTimeOf(pid);
  if (startTime === undefined) return;
  await writeFile(file, JSON.stringify({ pid, startTime } satisfies ProcessIdentity), { mode: 0o600 });
}

/**
 * Ends the process a file names, if it still is that process and its command line holds `argument`; waits until
 * it is gone, and removes the file. Returns its pid when there was something to end.
 */
export async function endLeftOver(file: string, argument: string): Promise<number | undefined> {
  const identity = await readIdentity(file);
  let ended: number | undefined;
  if (
    identity !== undefined &&
    (await isAlive(identity)) &&
    (await commandLine(identity.pid)).includes(argument)
  ) {
    ended = identity.pid;
    signal(identity.pid);
    while (await isAlive(identity)) await sleep(5);
  }
  await rm(file, { force: true });
  return ended;
}

async function isAlive({ pid, startTime }: ProcessIdentity): Promise<boolean> {
  return (await startTimeOf(pid)) === startTime;
}

/** Undefined when there is no such process, or only its exit status is left. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readIfThere(`/proc/${pid}/stat`);
  // The second field is the name in brackets, and may itself hold anything.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === 'Z' || fields?.[0] === 'X' ? undefined : fields?.[19];
}

async function commandLine(pid: number): Promise<string[]> {
  return (await readIfThere(`/proc/${pid}/cmdline`))?.split('\0') ?? [];
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

async function readIdentity(file: string): Promise<ProcessIdentity | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  try {
    const { pid, startTime } = JSON.parse(text) as Partial<ProcessIdentity>;
    return typeof pid === 'number' && pid > 1 && typeof startTime === 'string'
      ? { pid, startTime }
      : undefined;
  } catch {
    return undefined;
  }
}

/** ESRCH: the process ended while its file in /proc was open. */
async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined;
    throw error;
  }
}
