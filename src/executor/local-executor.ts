import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, fchownSync, mkdirSync, openSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { type AttemptId, parseAttemptId } from '../model/ids.ts';
import { ControlGroup, controlGroupParent } from './control-group.ts';
import type { Executor, StartedWorker, WorkerOrder, WorkerStatus } from './executor.ts';
import { ExecutorError } from './executor-error.ts';
import {
  identify,
  isRunning,
  type ProcessIdentity,
  processesMarked,
  signal as sendSignal,
} from './process-table.ts';
import { attemptMarker, workerEnvironment } from './worker-environment.ts';
import { foldersOf, type WorkerAccount, WorkerFolder } from './worker-folder.ts';
import { WorkerRecords } from './worker-record.ts';

export interface LocalExecutorOptions {
  /** Default: the type. */
  readonly name?: string;
  readonly type?: 'local' | 'popen';
  /** What to run: program and arguments. */
  readonly command: readonly [string, ...string[]];
  /** Every worker's environment, beside what its order adds: PATH, HOME, BUILD_ENGINE, proxies, … */
  readonly environment: Readonly<Record<string, string>>;
  /** Folder with one folder an attempt. */
  readonly workersFolder: string;
  /** Folder for the records by which the next life of the server finds its workers. */
  readonly recordsFolder: string;
  /** The account workers run as; only root can give one. Absent: our own. */
  readonly account?: WorkerAccount;
  /** The command becomes the account by itself, after what only root can do. Default: it is started as the account. */
  readonly commandDropsPrivileges?: boolean;
  /** How the worker gets its token. `stdin`: only it can read it. `environment`: TOKEN, for workers that know only that. */
  readonly token: 'stdin' | 'environment';
  readonly clock: Clock;
  /** Milliseconds between the wish to end and force. Default 5 s. */
  readonly grace?: number;
  /** Tells this machine's workers from others'. Default: its host name. */
  readonly machine?: string;
  /** Whether to keep each worker in a control group of its own where that is possible. Default true. */
  readonly controlGroups?: boolean;
}

type Gone = Extract<WorkerStatus, { kind: 'gone' }>;

interface LocalWorker {
  readonly attemptId: AttemptId;
  readonly folder: WorkerFolder;
  readonly identity: ProcessIdentity;
  readonly group: ControlGroup | undefined;
  /** Ours to reap; absent for a worker of a former life, which is watched in /proc. */
  readonly child: ChildProcess | undefined;
  gone: Gone | undefined;
  stopping: Promise<void> | undefined;
}

const adoptedPoll = 500;
const stopPoll = 20;
const stoppedKept = 1000;

/**
 * Runs workers as processes of this machine. Each is the leader of its own session and process group (and control
 * group, where possible), works in a folder of its own, and outlives this server: its output goes to a file, and a
 * record lets the next life of the server find it again.
 *
 * | worker   | known by             | seen to die by                 | left behind                      |
 * |----------|----------------------|--------------------------------|----------------------------------|
 * | ours     | child, record        | its exit                       | folder and record, until `stop`  |
 * | adopted  | record               | a look at /proc twice a second | folder and record, until `stop`  |
 * | gone     | its status           | –                              | folder and record, until `stop`  |
 * | stopped  | its last status only | –                              | nothing                          |
 *
 * The token is handed over after the record is written: a worker that nobody can find again never had one.
 */
export class LocalExecutor implements Executor {
  readonly name: string;
  readonly type: string;
  readonly #options: LocalExecutorOptions;
  readonly #records: WorkerRecords;
  readonly #machine: string;
  readonly #groups: string | undefined;
  readonly #workers = new Map<AttemptId, LocalWorker>();
  readonly #starting = new Map<AttemptId, Promise<StartedWorker>>();
  /** Of the last workers that were stopped. */
  readonly #stopped = new Map<AttemptId, Gone>();
  readonly #listeners = new Set<Parameters<Executor['onGone']>[0]>();
  readonly #closing = new AbortController();
  #watch: Promise<void> | undefined;

  constructor(options: LocalExecutorOptions) {
    this.#options = options;
    this.type = options.type ?? 'local';
    this.name = options.name ?? this.type;
    this.#machine = options.machine ?? hostname();
    // Others pass through to their own folder, and see no other's name.
    mkdirSync(options.workersFolder, { recursive: true });
    if (options.account !== undefined) chmodSync(options.workersFolder, 0o711);
    this.#records = new WorkerRecords(options.recordsFolder);
    this.#groups = options.controlGroups === false ? undefined : controlGroupParent();
  }

  start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const under = this.#starting.get(order.attemptId);
    if (under !== undefined) return under;
    const starting = this.#start(order, signal).finally(() => this.#starting.delete(order.attemptId));
    this.#starting.set(order.attemptId, starting);
    return starting;
  }

  async #start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    signal.throwIfAborted();
    const worker = this.#workerName(order.attemptId);
    if (this.#workers.has(order.attemptId)) return { worker };
    const folder = new WorkerFolder(this.#options.workersFolder, order.attemptId);
    let child: ChildProcess;
    try {
      folder.create(this.#options.account);
      child = await this.#spawn(order, folder);
    } catch (thrown) {
      await folder.remove();
      throw this.#startFailed(thrown);
    }
    const identity = identify(child.pid ?? 0) ?? { pid: child.pid ?? 0, startTime: '', bootId: '' };
    const group = this.#join(order.attemptId, identity.pid);
    const local: LocalWorker = {
      attemptId: order.attemptId,
      folder,
      identity,
      group,
      child,
      gone: undefined,
      stopping: undefined,
    };
    this.#workers.set(order.attemptId, local);
    this.#stopped.delete(order.attemptId);
    child.once('exit', (code, signalName) => this.#ended(local, code, signalName));
    try {
      await this.#records.write({
        ...identity,
        attemptId: order.attemptId,
        startedAt: this.#options.clock.now(),
      });
      if (child.exitCode !== null || child.signalCode !== null)
        this.#ended(local, child.exitCode, child.signalCode);
    } catch (thrown) {
      await this.#end(local);
      throw this.#startFailed(thrown);
    }
    this.#handOver(child, order.token);
    return { worker };
  }

  #startFailed(thrown: unknown): ExecutorError {
    return new ExecutorError(
      'start-failed',
      `Executor ${this.name} could not start ${this.#options.command[0]}: ${messageOf(thrown)}`,
      thrown,
    );
  }

  #spawn(order: WorkerOrder, folder: WorkerFolder): Promise<ChildProcess> {
    const { account, token, environment } = this.#options;
    const [program, ...args] = this.#options.command;
    const env = workerEnvironment(environment, order, { executor: this.name, ...folder });
    if (token === 'environment') env.TOKEN = order.token;
    const log = openSync(folder.log, 'a', 0o600);
    try {
      if (account !== undefined) fchownSync(log, account.uid, account.gid);
      const child = spawn(program, args, {
        cwd: folder.path,
        env,
        detached: true,
        stdio: [token === 'stdin' ? 'pipe' : 'ignore', log, log],
        // Node drops supplementary groups along with these.
        ...(account === undefined || this.#options.commandDropsPrivileges
          ? {}
          : { uid: account.uid, gid: account.gid }),
      });
      // A worker that dies before it has read its token is told of by its exit.
      child.stdin?.on('error', () => {});
      return new Promise((resolve, reject) => {
        child.once('spawn', () => resolve(child));
        child.once('error', reject);
      });
    } finally {
      closeSync(log);
    }
  }

  #handOver(child: ChildProcess, token: string): void {
    child.stdin?.end(token);
    // The server may exit while workers run.
    child.unref();
  }

  #join(attemptId: AttemptId, pid: number): ControlGroup | undefined {
    const group = this.#groupOf(attemptId);
    return group?.add(pid) === true ? group : undefined;
  }

  #groupOf(attemptId: AttemptId): ControlGroup | undefined {
    return this.#groups === undefined ? undefined : new ControlGroup(this.#groups, `slipway-${attemptId}`);
  }

  #ended(local: LocalWorker, code: number | null, signalName: string | null): void {
    if (local.gone !== undefined) return;
    const how =
      signalName === null ? `exited with status ${code ?? 'unknown'}` : `was ended by signal ${signalName}`;
    const gone: Gone = {
      kind: 'gone',
      reason: `The worker process ${how}.`,
      ...(code === null ? {} : { exitCode: code }),
      ...(signalName === null ? {} : { signal: signalName }),
    };
    local.gone = gone;
    // Its group was the worker's own a moment ago; what is left of it serves nobody now.
    sendSignal(-local.identity.pid, 'SIGKILL');
    local.group?.kill();
    void this.#tell(local, gone);
  }

  async #tell(local: LocalWorker, gone: Gone): Promise<void> {
    const output = await local.folder.output();
    const status = output === undefined ? gone : { ...gone, output };
    if (local.gone === gone) local.gone = status;
    if (local.stopping !== undefined) return;
    for (const listener of [...this.#listeners]) {
      listener({ worker: this.#workerName(local.attemptId), attemptId: local.attemptId, status });
    }
  }

  async stop(worker: string, _signal: AbortSignal): Promise<void> {
    const attemptId = this.#ownAttempt(worker);
    if (attemptId === undefined) return;
    await this.#starting.get(attemptId)?.catch(() => {});
    const local = this.#workers.get(attemptId);
    if (local !== undefined) await this.#end(local);
  }

  /** One ending a worker, however often it is asked for; it is carried through once it has begun. */
  #end(local: LocalWorker): Promise<void> {
    local.stopping ??= this.#endOnce(local);
    return local.stopping;
  }

  async #endOnce(local: LocalWorker): Promise<void> {
    const { pid } = local.identity;
    if (this.#lives(local)) {
      sendSignal(-pid, 'SIGTERM');
      await this.#until(() => !this.#lives(local), this.#options.grace ?? 5000);
      if (this.#lives(local)) sendSignal(-pid, 'SIGKILL');
    }
    await this.#endRest(local.attemptId, local.group);
    await this.#until(() => !this.#lives(local), 2000);
    await local.folder.remove();
    await this.#records.remove(local.attemptId);
    this.#workers.delete(local.attemptId);
    this.#remember(local.attemptId, local.gone ?? { kind: 'gone', reason: 'The worker was stopped.' });
  }

  #lives(local: LocalWorker): boolean {
    if (local.child !== undefined) return local.child.exitCode === null && local.child.signalCode === null;
    return isRunning(local.identity);
  }

  /** Ends what an attempt left running beside its worker. */
  async #endRest(attemptId: AttemptId, group: ControlGroup | undefined): Promise<void> {
    const path = new WorkerFolder(this.#options.workersFolder, attemptId).path;
    const marker = attemptMarker(attemptId);
    const killed = () => {
      group?.kill();
      const left = processesMarked(path, marker);
      for (const pid of left) sendSignal(pid, 'SIGKILL');
      return left.length === 0 && (group === undefined || !group.populated);
    };
    await this.#until(killed, 3000);
    group?.remove();
  }

  async #until(condition: () => boolean, milliseconds: number): Promise<void> {
    // A worker that does not end is ended by force, whatever the time of day is set to meanwhile.
    const end = performance.now() + milliseconds;
    while (!condition() && performance.now() < end) await this.#options.clock.sleep(stopPoll);
  }

  #remember(attemptId: AttemptId, gone: Gone): void {
    this.#stopped.delete(attemptId);
    this.#stopped.set(attemptId, gone);
    if (this.#stopped.size <= stoppedKept) return;
    for (const oldest of this.#stopped.keys()) {
      this.#stopped.delete(oldest);
      return;
    }
  }

  async status(worker: string): Promise<WorkerStatus> {
    const attemptId = this.#ownAttempt(worker);
    // Another machine's: only its heartbeats tell.
    if (attemptId === undefined) return { kind: 'running' };
    const local = this.#workers.get(attemptId);
    if (local === undefined) {
      return (
        this.#stopped.get(attemptId) ?? {
          kind: 'gone',
          reason: 'There is no such worker on this machine (it may have been restarted).',
        }
      );
    }
    if (local.gone === undefined && !this.#lives(local)) this.#lostAdopted(local);
    return local.gone ?? { kind: 'running' };
  }

  async running(): Promise<readonly { readonly worker: string; readonly attemptId: AttemptId }[]> {
    return [...this.#workers.values()]
      .filter((local) => local.gone === undefined)
      .map(({ attemptId }) => ({ worker: this.#workerName(attemptId), attemptId }));
  }

  onGone(tell: Parameters<Executor['onGone']>[0]): () => void {
    const own: typeof tell = (gone) => tell(gone);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  async adopt(keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void> {
    const ends: Promise<unknown>[] = [];
    for (const record of await this.#records.all()) {
      if (this.#workers.has(record.attemptId) || this.#starting.has(record.attemptId)) continue;
      const { attemptId, startedAt: _, ...identity } = record;
      const local: LocalWorker = {
        attemptId,
        folder: new WorkerFolder(this.#options.workersFolder, attemptId),
        identity,
        group: this.#groupOf(attemptId),
        child: undefined,
        gone: undefined,
        stopping: undefined,
      };
      this.#workers.set(attemptId, local);
      // Together: each may have to be ended by force, and whoever starts waits for it.
      if (!(await keep(attemptId))) {
        const end = this.#end(local);
        end.catch(() => {});
        ends.push(end);
      } else if (!isRunning(identity)) this.#lostAdopted(local);
    }
    await Promise.all(ends);
    for (const attemptId of await foldersOf(this.#options.workersFolder)) {
      if (this.#workers.has(attemptId) || this.#starting.has(attemptId)) continue;
      await this.#endRest(attemptId, this.#groupOf(attemptId));
      await new WorkerFolder(this.#options.workersFolder, attemptId).remove();
    }
    this.#watch ??= this.#watchAdopted();
  }

  async #watchAdopted(): Promise<void> {
    const { signal } = this.#closing;
    const adopted = () => [...this.#workers.values()].filter((local) => local.child === undefined);
    while (!signal.aborted && adopted().length > 0) {
      for (const local of adopted()) {
        if (local.gone === undefined && !this.#lives(local)) this.#lostAdopted(local);
      }
      try {
        await this.#options.clock.sleep(adoptedPoll, signal);
      } catch {
        return;
      }
    }
    this.#watch = undefined;
  }

  #lostAdopted(local: LocalWorker): void {
    if (local.gone !== undefined) return;
    const gone: Gone = {
      kind: 'gone',
      reason:
        'The worker process is gone; it was started before the server was, so its exit status is unknown.',
    };
    local.gone = gone;
    local.group?.kill();
    // Its pid may be another's by now, so nothing is ended that does not carry the attempt's mark.
    for (const pid of processesMarked(local.folder.path, attemptMarker(local.attemptId))) {
      sendSignal(pid, 'SIGKILL');
    }
    void this.#tell(local, gone);
  }

  /** Lets go of the workers; they run on. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#listeners.clear();
    await Promise.allSettled(this.#starting.values());
    await Promise.allSettled([...this.#workers.values()].map((local) => local.stopping));
    await this.#watch;
  }

  #workerName(attemptId: AttemptId): string {
    return `${this.#machine}:${attemptId}`;
  }

  #ownAttempt(worker: string): AttemptId | undefined {
    const parted = worker.lastIndexOf(':');
    return worker.slice(0, parted) === this.#machine ? parseAttemptId(worker.slice(parted + 1)) : undefined;
  }
}
