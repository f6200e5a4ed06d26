import { randomInt, randomUUID } from 'node:crypto';
import { copyFile, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '../../src/cli/client.ts';
import { follow } from '../../src/cli/follow.ts';
import type { LogEntry } from '../../src/log/log-store.ts';
import {
  type BuildView,
  createRepository,
  packFolder,
  readLog,
  uploadFile,
} from '../harness/build-client.ts';
import { processesOf, processesWith, type SlipwayServer, until } from '../harness/slipway-server.ts';

export interface AttemptView {
  readonly epoch: number;
  readonly state: string;
  readonly outcome: string | null;
  readonly error_code: string | null;
  readonly error: string | null;
}

export interface FaultView extends BuildView {
  readonly attempts: readonly AttemptView[];
  readonly image_size: number | null;
}

const namespace = 'admin';

/** A build that a test has asked for. */
export class FaultBuild {
  readonly server: SlipwayServer;
  readonly name: string;
  readonly id: string;

  constructor(server: SlipwayServer, name: string, id: string) {
    this.server = server;
    this.name = name;
    this.id = id;
  }

  get repository(): string {
    return `${namespace}/${this.name}`;
  }

  async view(): Promise<FaultView> {
    return await this.server.json<FaultView>('GET', `/api/v1/repository/${this.repository}/build/${this.id}`);
  }

  async log(): Promise<LogEntry[]> {
    return await readLog(this.server, this.repository, this.id);
  }

  /** Waits for an attempt, of any epoch or of the given one, to be in a state. */
  async reaches(state: string, epoch?: number): Promise<FaultView> {
    return await until(`${this.name} to be ${state}`, async () => {
      const view = await this.view();
      const last = view.attempts.at(-1);
      if (last?.state === state && (epoch === undefined || last.epoch === epoch)) return view;
      if (isOver(view)) throw new Error(`${this.name} is ${view.phase} already: ${view.error}`);
      return undefined;
    });
  }

  async ends(seconds = 60): Promise<FaultView> {
    return await until(
      `the end of ${this.name}`,
      async () => {
        const view = await this.view();
        return isOver(view) ? view : undefined;
      },
      seconds,
    );
  }

  /** Waits until a message of the log fits; its index. */
  async says(pattern: RegExp): Promise<number> {
    return await until(`${this.name} to say ${pattern}`, async () => {
      const at = (await this.log()).findIndex(({ message }) => pattern.test(message));
      return at < 0 ? undefined : at;
    });
  }

  async cancel(): Promise<Response> {
    return await this.server.fetch(`/api/v1/repository/${this.repository}/build/${this.id}`, {
      method: 'DELETE',
    });
  }

  /** Follows the log as the command line client does, restarts of the server included, up to its end. */
  async follow(): Promise<LogEntry[]> {
    const client = new Client(this.server.url, `Bearer ${this.server.token}`);
    const build = { id: this.id, repository: { namespace, name: this.name } };
    const entries: LogEntry[] = [];
    for await (const event of follow(client, build, AbortSignal.timeout(110_000)))
      if (event.kind === 'log') entries.push(...(event.entries as LogEntry[]));
    return entries;
  }
}

function isOver({ phase }: BuildView): boolean {
  return ['complete', 'error', 'internalerror', 'expired', 'cancelled'].includes(phase);
}

let asked = 0;

/** Uploads a Dockerfile with a static busybox beside it, and asks for its build in a repository of its own. */
export async function askForBuild(
  server: SlipwayServer,
  dockerfile: string,
  request: Readonly<Record<string, unknown>> = {},
): Promise<FaultBuild> {
  asked += 1;
  const name = `fault-${asked}`;
  await createRepository(server, namespace, name);
  const fileId = request.archive_url === undefined ? await uploadContext(server, dockerfile) : undefined;
  const response = await server.fetch(`/api/v1/repository/${namespace}/${name}/build/`, {
    method: 'POST',
    body: JSON.stringify({ ...(fileId === undefined ? {} : { file_id: fileId }), ...request }),
    headers: { 'content-type': 'application/json' },
  });
  if (!response.ok) throw new Error(`POST build: ${response.status} ${await response.text()}`);
  return new FaultBuild(server, name, ((await response.json()) as BuildView).id);
}

async function uploadContext(server: SlipwayServer, dockerfile: string): Promise<string> {
  return await withContext(dockerfile, async (archive, type) => await uploadFile(server, archive, type));
}

/** Packs the context of a Dockerfile for as long as `use` takes. */
export async function withContext<Result>(
  dockerfile: string,
  use: (archive: string, type: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-fault-context-'));
  try {
    await writeFile(join(folder, 'Dockerfile'), dockerfile);
    await copyFile('/bin/busybox', join(folder, 'busybox'));
    const archive = `${folder}.tar.gz`;
    try {
      return await use(archive, await packFolder(folder, 'tar.gz', archive));
    } finally {
      await rm(archive, { force: true });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A Dockerfile whose layers no other build has, with shell commands run by busybox. */
export function dockerfile(...commands: readonly string[]): string {
  const steps = commands.map((command) => `RUN ["/busybox", "sh", "-c", ${JSON.stringify(command)}]`);
  return ['FROM scratch', 'COPY busybox /busybox', `ENV NONCE=${randomUUID()}`, ...steps, ''].join('\n');
}

/**
 * A step that prints `count` lines `tick <run> <number> <uptime>`, one every `pause` milliseconds. `run` differs each
 * time the step is carried out, so the log shows how often and when it ran.
 */
export function ticking(count: number, pause: number): string {
  return [
    'run=$(/busybox cat /proc/sys/kernel/random/uuid); i=0',
    `while [ $i -lt ${count} ]; do i=$((i+1)); read up rest < /proc/uptime`,
    `echo "tick $run $i $up"; /busybox usleep ${pause * 1000}; done`,
  ].join('; ');
}

/** A command that a step stands at until the test lets it go on. */
export class Hold {
  /** Nobody else sleeps for just this long, so the process is found by it, whatever container it is in. */
  readonly #seconds = String(1_000_000_000 + randomInt(1_000_000_000));

  get command(): string {
    return `/busybox sleep ${this.#seconds} || true`;
  }

  async release(): Promise<void> {
    const pid = await until('the step to stand at its hold', async () => {
      const found = await processesWith(`sleep ${this.#seconds}`);
      return found.find(({ command }) => command === `/busybox sleep ${this.#seconds}`)?.pid;
    });
    process.kill(pid, 'SIGTERM');
  }
}

export interface Ticks {
  readonly run: string;
  readonly numbers: readonly number[];
  /** Seconds since the machine started. */
  readonly first: number;
  readonly last: number;
}

/** The ticks in a log, by the run that printed them, in the order of their first lines. */
export function ticksIn(log: readonly LogEntry[]): Ticks[] {
  const lines = log.flatMap(({ message }) => {
    const found = /^tick (\S+) (\d+) (\S+)$/.exec(message);
    return found === null ? [] : [{ run: found[1] ?? '', number: Number(found[2]), at: Number(found[3]) }];
  });
  return [...Map.groupBy(lines, ({ run }) => run)].map(([run, own]) => ({
    run,
    numbers: own.map(({ number }) => number),
    first: own[0]?.at ?? 0,
    last: own.at(-1)?.at ?? 0,
  }));
}

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

export interface WorkerProcess {
  readonly pid: number;
  readonly folder: string;
}

/** The worker processes (not their engines) of a data folder that live now. */
export async function workersOf(data: string): Promise<WorkerProcess[]> {
  const workers: WorkerProcess[] = [];
  for (const { pid, command } of await processesOf(data)) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (!command.includes('src/bin/worker.ts') || /\) [ZX] /.test(state)) continue;
    workers.push({ pid, folder: await readlink(`/proc/${pid}/cwd`).catch(() => '') });
  }
  return workers;
}

/** The engine's processes: buildah itself, not what it runs. */
export async function enginesOf(data: string): Promise<number[]> {
  const found = await processesOf(data);
  return found.filter(({ command }) => /^buildah |\/buildah /.test(command)).map(({ pid }) => pid);
}

/** Looks for workers often, to see how many ever lived at once. */
export class WorkerWatch {
  readonly #data: string;
  readonly #timer: NodeJS.Timeout;
  #most = 0;
  #looking = false;
  readonly pids = new Set<number>();

  constructor(data: string) {
    this.#data = data;
    this.#timer = setInterval(() => void this.#look(), 40);
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const workers = await workersOf(this.#data);
    for (const { pid } of workers) this.pids.add(pid);
    this.#most = Math.max(this.#most, workers.length);
    this.#looking = false;
  }

  /** The most workers that were seen at once. */
  end(): number {
    clearInterval(this.#timer);
    return this.#most;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** What builds left below a data folder: folders of attempts, records of workers, mounts. Empty is right. */
export async function leftovers(data: string): Promise<string[]> {
  const folders = (await readdir(join(data, 'workers'))).filter((name) => name !== 'home');
  const records = await readdir(join(data, 'run', 'workers'));
  const mounts = (await readFile('/proc/mounts', 'utf8'))
    .split('\n')
    .filter((line) => line.split(' ')[1]?.startsWith(`${data}/`));
  return [
    ...folders.map((name) => `workers/${name}`),
    ...records.map((name) => `run/workers/${name}`),
    ...mounts,
  ];
}

/** Waits until builds have left nothing: the end of a build is told before its worker's folder is removed. */
export async function untilNothingLeft(data: string): Promise<void> {
  let left: string[] = [];
  await until(
    'nothing of the builds to be left',
    async () => {
      left = [...(await leftovers(data)), ...(await workersOf(data)).map(({ pid }) => `worker ${pid}`)];
      left.push(...(await enginesOf(data)).map((pid) => `engine ${pid}`));
      return left.length === 0;
    },
    15,
  ).catch(() => {
    throw new Error(`left behind: ${left.join(', ')}`);
  });
}

export async function registryOf(data: string): Promise<number | undefined> {
  const found = await processesOf(data);
  return found.find(({ command }) => command.startsWith('docker-registry serve'))?.pid;
}
