import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, chown, mkdir, open, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import path from 'node:path';
import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { boundLog } from './bounded-log.ts';
import { googleDriverSettings } from './google/driver-settings.ts';
import { GoogleStorageProxy } from './google/storage-proxy.ts';
import { endLeftOver, recordProcess } from './left-over-process.ts';
import {
  type FolderStorage,
  formatRegistryConfig,
  type RegistryStorage,
  type S3Storage,
} from './registry-config.ts';
import { RegistryError } from './registry-error.ts';
import { derivedSecret, type SigningKey } from './signing-key.ts';

export type EmbeddedRegistryEvent =
  | { readonly kind: 'left-over-ended'; readonly pid: number }
  | { readonly kind: 'started'; readonly pid: number; readonly milliseconds: number }
  | { readonly kind: 'exited'; readonly reason: string; readonly restartIn: number }
  | { readonly kind: 'start-failed'; readonly error: unknown; readonly restartIn: number };

export interface EmbeddedRegistryOptions {
  /** Owned by the registry process alone: storage, socket, configuration and log. Absolute. */
  readonly folder: string;
  readonly key: SigningKey;
  readonly issuer: string;
  readonly service: string;
  /** URL of the token service; only said by the registry when it is asked past the gateway. */
  readonly realm: string;
  readonly clock: Clock;
  /** Default: the folder `storage` in `folder`, which is this process's alone. */
  readonly storage?: RegistryStorage;
  /** Another account to run as; only root can. */
  readonly account?: { readonly uid: number; readonly gid: number };
  /** Default `docker-registry`, found in PATH. */
  readonly program?: string;
  readonly onEvent?: (event: EmbeddedRegistryEvent) => void;
}

const startLimit = 10_000;
const stopLimit = 12_000;
const restartBackOff = { first: 100, cap: 10_000 };
/** A child that lived this long was not a failed start; the next restart is quick again. */
const steadyAfter = 30_000;
const largestLog = 4 * 1024 * 1024;
const logCheckInterval = 10_000;

interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly startedAt: number;
  /** How it ended; never rejects. */
  readonly ended: Promise<string>;
}

/**
 * docker-registry as a child of this process, listening on a unix socket that only its own account and root can
 * reach.
 *
 * | state    | child | left by |
 * |----------|-------|---------|
 * | stopped  | none  | start → starting |
 * | starting | maybe | socket answers → running; fails → `start` throws, or a further restart |
 * | running  | yes   | it dies → waiting; stop → stopping |
 * | waiting  | none  | back-off is over → starting; stop → stopped |
 * | stopping | yes   | it is gone → stopped |
 *
 * The child does not outlive this process: the kernel kills it when the main thread dies, and should that have
 * failed, the next start ends what the pid file names.
 */
export class EmbeddedRegistry {
  readonly #options: EmbeddedRegistryOptions;
  #state: 'stopped' | 'starting' | 'running' | 'waiting' | 'stopping' = 'stopped';
  #child: Child | undefined;
  /** In front of Google Cloud Storage, from before the first child until after the last one. */
  #proxy: GoogleStorageProxy | undefined;
  #starting: Promise<void> | undefined;
  #supervision: Promise<void> | undefined;
  #wait = 0;
  #stopping = new AbortController();

  constructor(options: EmbeddedRegistryOptions) {
    this.#options = options;
  }

  get socketPath(): string {
    return path.join(this.#options.folder, 'registry.sock');
  }

  get logFile(): string {
    return path.join(this.#options.folder, 'registry.log');
  }

  get state(): 'stopped' | 'starting' | 'running' | 'waiting' | 'stopping' {
    return this.#state;
  }

  /** The child's process id, while there is one. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Returns when the registry answers. Throws RegistryError `unavailable` when it cannot be brought to. */
  async start(signal?: AbortSignal): Promise<void> {
    if (this.#state !== 'stopped') return;
    this.#state = 'starting';
    this.#stopping = new AbortController();
    const either = AbortSignal.any([this.#stopping.signal, ...(signal === undefined ? [] : [signal])]);
    this.#starting = this.#startOnce(either);
    await this.#starting;
  }

  async #startOnce(signal: AbortSignal): Promise<void> {
    try {
      await this.#prepare();
      const leftOver = await endLeftOver(this.#pidFile, this.#configFile);
      if (leftOver !== undefined) this.#tell({ kind: 'left-over-ended', pid: leftOver });
      const child = await this.#launch(signal);
      this.#supervision = this.#supervise(child);
    } catch (error) {
      await this.#closeProxy();
      this.#state = 'stopped';
      throw error;
    }
  }

  /** Ends the child: TERM, and KILL when it has not gone after 12 s. Requests in progress get up to 10 s. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopping';
    this.#stopping.abort(new RegistryError('unavailable', 'The registry is being stopped.'));
    await this.#end();
    await this.#starting?.catch(() => {});
    await this.#supervision;
    this.#supervision = undefined;
    await this.#closeProxy();
    await rm(this.#pidFile, { force: true });
    this.#state = 'stopped';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #configFile(): string {
    return path.join(this.#options.folder, 'config.yml');
  }

  get #pidFile(): string {
    return path.join(this.#options.folder, 'registry.pid');
  }

  async #prepare(): Promise<void> {
    const { folder, key, issuer, service, realm, account } = this.#options;
    const storage = await this.#reachable(
      this.#options.storage ?? { kind: 'folder', folder: path.join(folder, 'storage') },
    );
    const certificateFile = path.join(folder, 'token.crt.pem');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (storage.kind === 'folder') await mkdir(storage.folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
    await writeFile(certificateFile, key.certificatePem, { mode: 0o600 });
    const config = formatRegistryConfig({
      storage,
      shared: this.#options.storage !== undefined,
      socketPath: this.socketPath,
      certificateFile,
      realm,
      service,
      issuer,
      httpSecret: derivedSecret(key, 'registry uploads'),
    });
    await writeFile(this.#configFile, config, { mode: 0o600 });
    if (account === undefined) return;
    const folders = storage.kind === 'folder' ? [folder, storage.folder] : [folder];
    for (const file of [...folders, certificateFile, this.#configFile]) {
      await chown(file, account.uid, account.gid);
    }
  }

  /** The storage as docker-registry can use it. */
  async #reachable(storage: RegistryStorage): Promise<FolderStorage | S3Storage> {
    if (storage.kind !== 'google') return storage;
    const { bucket, region, prefix } = storage;
    const proxy = new GoogleStorageProxy(storage, this.#options.clock);
    const found = await proxy.start();
    this.#proxy = proxy;
    return { kind: 's3', bucket, region, prefix, ...found, settings: googleDriverSettings };
  }

  async #closeProxy(): Promise<void> {
    await this.#proxy?.stop();
    this.#proxy = undefined;
  }

  /** Starts a child and waits until it answers; when it does not, there is no child left. */
  async #launch(signal?: AbortSignal): Promise<Child> {
    const startedAt = this.#options.clock.now();
    await rm(this.socketPath, { force: true });
    await boundLog(this.logFile, largestLog);
    const log = await open(this.logFile, 'a', 0o600);
    let child: Child;
    try {
      child = await this.#spawn(log.fd, startedAt);
    } finally {
      await log.close();
    }
    this.#child = child;
    try {
      await recordProcess(this.#pidFile, child.pid);
      await this.#untilReady(child, signal);
    } catch (error) {
      await this.#end();
      throw error;
    }
    this.#state = 'running';
    this.#tell({ kind: 'started', pid: child.pid, milliseconds: this.#options.clock.now() - startedAt });
    return child;
  }

  async #spawn(logDescriptor: number, startedAt: number): Promise<Child> {
    const { account, program = 'docker-registry', folder } = this.#options;
    // setpriv becomes the registry (same pid). The death signal is tied to the thread that forks, which in Node
    // is the main one, and has to be set after the change of account, which clears it.
    const change =
      account === undefined
        ? []
        : [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups', '--no-new-privs'];
    const process = spawn(
      'setpriv',
      [...change, '--pdeathsig=KILL', '--', program, 'serve', this.#configFile],
      // Its own process group, so that Ctrl-C in a terminal reaches Slipway alone, which then stops it in order.
      {
        cwd: folder,
        env: { PATH: systemPath },
        stdio: ['ignore', logDescriptor, logDescriptor],
        detached: true,
      },
    );
    const ended = new Promise<string>((resolve) => {
      process.once('exit', (code, name) => resolve(name === null ? `exit status ${code}` : `signal ${name}`));
      process.once('error', (error) => resolve(messageOf(error)));
    });
    if (process.pid === undefined) {
      throw new RegistryError(
        'unavailable',
        `The registry cannot be started: ${await ended}. Is the package util-linux (setpriv) installed?`,
      );
    }
    return { process, pid: process.pid, startedAt, ended };
  }

  async #untilReady(child: Child, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let gone: string | undefined;
    void child.ended.then((reason) => {
      gone = reason;
    });
    while (!(await answers(this.socketPath))) {
      signal?.throwIfAborted();
      if (gone !== undefined) {
        throw new RegistryError(
          'unavailable',
          `The registry ended at its start (${gone}). Is the package docker-registry installed? Its log: ${this.logFile}`,
        );
      }
      if (clock.now() - child.startedAt > startLimit) {
        throw new RegistryError(
          'unavailable',
          `The registry did not answer in ${startLimit / 1000} s. Its log: ${this.logFile}`,
        );
      }
      await clock.sleep(10, signal);
    }
  }

  /** Owns every child after the first: watches, waits, starts again, until `stop`. */
  async #supervise(first: Child): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stopping;
    const logGuard = setInterval(
      () => void boundLog(this.logFile, largestLog).catch(() => {}),
      logCheckInterval,
    );
    logGuard.unref();
    let child: Child | undefined = first;
    let failures = 0;
    while (!signal.aborted) {
      if (child !== undefined) {
        const reason = await child.ended;
        this.#child = undefined;
        if (signal.aborted) break;
        if (clock.now() - child.startedAt > steadyAfter) failures = 0;
        this.#tell({ kind: 'exited', reason, restartIn: this.#nextWait(failures) });
      }
      this.#state = 'waiting';
      await clock.sleep(this.#wait, signal).catch(() => {});
      if (signal.aborted) break;
      this.#state = 'starting';
      failures += 1;
      try {
        child = await this.#launch(signal);
      } catch (error) {
        child = undefined;
        if (!signal.aborted) this.#tell({ kind: 'start-failed', error, restartIn: this.#nextWait(failures) });
      }
    }
    clearInterval(logGuard);
    await this.#end();
  }

  #nextWait(failures: number): number {
    this.#wait = backOff(failures, restartBackOff);
    return this.#wait;
  }

  async #end(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.process.kill('SIGTERM');
    const kill = setTimeout(() => child.process.kill('SIGKILL'), stopLimit);
    await child.ended;
    clearTimeout(kill);
    this.#child = undefined;
  }

  #tell(event: EmbeddedRegistryEvent): void {
    this.#options.onEvent?.(event);
  }
}

const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Whether something behind the socket asks for a token at `/v2/`. */
function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = request({ socketPath, path: '/v2/', agent: false, timeout: 1_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 401);
    });
    probe.once('timeout', () => probe.destroy());
    probe.once('error', () => resolve(false));
    probe.end();
  });
}
