import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkerStatus } from '../../src/executor/executor.ts';
import type { AttemptFaults } from './schedule.ts';
import type { WorkerProcessInput } from './worker-process.ts';

/** Milliseconds between being asked to end and being ended. */
const stopGrace = 2_000;

/**
 * A worker in a process of its own. It dies with its host, and by itself when the schedule says so; one that is frozen
 * hears nothing, so who wants it gone has to end it by force.
 */
export async function liveAsProcess(
  input: WorkerProcessInput,
  faults: AttemptFaults['process'],
  signal: AbortSignal,
): Promise<WorkerStatus> {
  const child = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', '--', process.execPath, '--disable-warning=ExperimentalWarning'],
      ...['--max-semi-space-size=2', join(import.meta.dirname, 'worker-process.ts')],
      ...[input.hosted.order.attemptId, input.config.folder],
    ],
    { stdio: ['pipe', 'inherit', 'inherit'] },
  );
  const over = new AbortController();
  const ended = once(child, 'exit');
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(input));
  const stopping = () => void end(child, over.signal);
  signal.addEventListener('abort', stopping, { once: true });
  if (signal.aborted) stopping();
  const suffering = suffer(child, faults, over.signal).catch(() => {});
  const [code, by] = (await ended) as [number | null, NodeJS.Signals | null];
  over.abort();
  signal.removeEventListener('abort', stopping);
  await suffering;
  return code === null
    ? { kind: 'gone', signal: by ?? 'SIGKILL', reason: `The worker's process was ended by ${by}.` }
    : { kind: 'gone', exitCode: code, reason: `The worker exited with status ${code}.` };
}

async function suffer(
  child: ChildProcess,
  faults: AttemptFaults['process'],
  over: AbortSignal,
): Promise<void> {
  if (faults.kind === 'fine') return;
  await sleep(faults.after, undefined, { signal: over });
  if (faults.kind === 'killed') {
    child.kill('SIGKILL');
    return;
  }
  child.kill('SIGSTOP');
  await sleep(faults.for, undefined, { signal: over });
  child.kill('SIGCONT');
}

async function end(child: ChildProcess, over: AbortSignal): Promise<void> {
  child.kill('SIGTERM');
  await sleep(stopGrace, undefined, { signal: over }).catch(() => {});
  if (!over.aborted) child.kill('SIGKILL');
}
