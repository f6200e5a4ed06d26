import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { SlipwayServer } from '../test/harness/slipway-server.ts';
import { median, report } from './report.ts';

/** An idle server: its memory without the registry child, and how long from the start of the process to healthy. */
const rounds = 5;
const run = promisify(execFile);

async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
}

/** The server's own Node.js children (none when idle, unless a worker is kept ready): they count as server. */
async function serverProcesses(pid: number): Promise<number[]> {
  const { stdout } = await run('ps', ['-o', 'pid=,comm=', '--ppid', String(pid)]).catch(() => ({
    stdout: '',
  }));
  const children = stdout.split('\n').flatMap((line) => {
    const [child, command] = line.trim().split(/\s+/);
    return child && command !== undefined && !command.startsWith('docker-registr') ? [Number(child)] : [];
  });
  return [pid, ...children];
}

const server = await SlipwayServer.start([], { launcher: true });
try {
  const starts: number[] = [];
  const memory: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await server.kill('SIGTERM');
    const before = performance.now();
    await server.start();
    const health = await server.fetch('/health/instance');
    if (!health.ok) throw new Error(`not healthy: ${await health.text()}`);
    starts.push(performance.now() - before);
    await sleep(5_000);
    let sum = 0;
    for (const pid of await serverProcesses(server.pid)) sum += await residentMegabytes(pid);
    memory.push(sum);
  }
  report('idle', [
    {
      name: 'start_to_healthy',
      value: median(starts) / 1000,
      unit: 's',
      limit: { kind: 'at-most', value: 1.5 },
    },
    { name: 'start_to_healthy_max', value: Math.max(...starts) / 1000, unit: 's' },
    { name: 'resident_memory', value: median(memory), unit: 'MB', limit: { kind: 'at-most', value: 150 } },
  ]);
} finally {
  await server.dispose();
}
