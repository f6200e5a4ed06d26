import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PasswordHasher } from '../../src/account/password-hash.ts';
import { SqlAccounts } from '../../src/account/sql-accounts.ts';
import { systemClock as clock } from '../../src/base/clock.ts';
import { loadOrMake, loadSecretKey } from '../../src/bin/keys.ts';
import { Database } from '../../src/db/database.ts';
import { defaultSettings, type ManagerSettings } from '../../src/manager/settings.ts';
import { parseRepositoryName } from '../../src/model/repository-name.ts';
import { loadSigningKey } from '../../src/registry/signing-key.ts';
import { newTokenKey } from '../../src/rpc/token-keys.ts';
import { TcpProxy, type Weather } from '../fakes/tcp-proxy.ts';
import type { HostedWorker } from './faulty-executor.ts';
import type { HostConfig } from './hosted-workers.ts';
import { lastingPort } from './lasting-port.ts';
import { ManagedProcess } from './managed-process.ts';
import type { ManagerConfig, ManagerOrder } from './manager-config.ts';
import type { Schedule, Target, Way } from './schedule.ts';
import { RestartablePostgres, RestartableRedis } from './services.ts';

/**
 * The product's timers, short enough that retries fit into a run. Leases are the real ones: they have to hold while
 * managers die.
 */
export const settings: ManagerSettings = {
  ...defaultSettings,
  allowedWorkerCount: 24,
  jobRegistrationTimeout: 8_000,
  setupTime: 8_000,
  heartbeatTimeout: 12_000,
  machineMaxTime: 900_000,
  retryDelay: 1_000,
  startDelay: 1_500,
  capacityDelay: 500,
  cancelGrace: 2_000,
};

const doors = 24;
const administrator = 'admin';

/** Everything that a run needs, each part a real one in a process of its own, and each way between them a proxy. */
export class Cluster implements AsyncDisposable {
  readonly folder: string;
  readonly mark = randomUUID();
  readonly managers: ManagedProcess[] = [];
  readonly hosts: ManagedProcess[] = [];
  /** What must not happen to processes: a manager that ended by itself. */
  readonly crashes: string[] = [];
  readonly #schedule: Schedule;
  readonly #undo: (() => Promise<void>)[] = [];
  readonly #ways = new Map<string, TcpProxy>();
  readonly #hostPorts: number[] = [];
  #postgres: RestartablePostgres | undefined;
  #redis: RestartableRedis | undefined;
  #front: TcpProxy | undefined;
  #database: Database | undefined;
  #token = '';
  #password = '';

  private constructor(folder: string, schedule: Schedule) {
    this.folder = folder;
    this.#schedule = schedule;
  }

  static async open(schedule: Schedule): Promise<Cluster> {
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), `slipway-chaos-${process.pid}-`)), schedule);
    try {
      await cluster.#open();
      return cluster;
    } catch (thrown) {
      await cluster[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  get postgres(): RestartablePostgres {
    return there(this.#postgres);
  }

  get redis(): RestartableRedis {
    return there(this.#redis);
  }

  /** Past every proxy that is disturbed. */
  get database(): Database {
    return there(this.#database);
  }

  /** For clients: a way to the managers that is never disturbed, though what is at its end is. */
  get url(): string {
    return `http://127.0.0.1:${there(this.#front).port}`;
  }

  get token(): string {
    return this.#token;
  }

  get password(): string {
    return this.#password;
  }

  get keys(): string {
    return join(this.folder, 'keys');
  }

  get blobs(): string {
    return join(this.folder, 'blobs');
  }

  get archives(): string {
    return join(this.folder, 'archives');
  }

  get storage(): string {
    return join(this.folder, 'storage');
  }

  journalOf(host: number): string {
    return join(this.folder, `host-${host}.acknowledged`);
  }

  async #open(): Promise<void> {
    const { size, seed } = this.#schedule;
    const postgres = await RestartablePostgres.open();
    this.#postgres = postgres;
    this.#undo.push(() => postgres[Symbol.asyncDispose]());
    const redis = await RestartableRedis.open();
    this.#redis = redis;
    this.#undo.push(() => redis[Symbol.asyncDispose]());
    for (const part of [this.keys, this.blobs, this.archives, this.storage, join(this.folder, 'workers')])
      await mkdir(part, { recursive: true });
    await loadSecretKey(this.keys, 'database-secret-key');
    await loadSecretKey(this.keys, 'url-signing-key');
    await loadOrMake(this.keys, 'worker-token.key.pem', newTokenKey);
    await loadSigningKey(this.keys, clock);
    const database = await Database.open({
      provider: 'postgres',
      url: postgres.urlAt(postgres.port),
      connections: 4,
      onError: () => {},
    });
    this.#database = database;
    this.#undo.push(() => database.stop());
    await this.#makeAccounts(database);

    const managerPorts = await lastingPorts(size.managers);
    const workersWay = await this.#way({ kind: 'workers' }, managerPorts, doors);
    const front = await TcpProxy.open({ targets: managerPorts });
    this.#front = front;
    this.#undo.push(() => front.close());
    this.#hostPorts.push(...(await lastingPorts(size.hosts)));
    for (let index = 0; index < size.hosts; index += 1) {
      const config: HostConfig = {
        index,
        seed,
        port: this.#hostPorts[index] ?? 0,
        doors: workersWay.ports,
        folder: join(this.folder, 'workers'),
        journal: this.journalOf(index),
      };
      this.hosts.push(this.#process(`host-${index}`, 'worker-host.ts', config));
    }
    for (let index = 0; index < size.managers; index += 1) {
      const toPostgres = await this.#way({ kind: 'postgres', manager: index }, [postgres.port]);
      const toRedis = await this.#way({ kind: 'redis', manager: index }, [redis.port]);
      const config: ManagerConfig = {
        index,
        seed,
        port: managerPorts[index] ?? 0,
        front: `127.0.0.1:${workersWay.port}`,
        databaseUrl: postgres.urlAt(toPostgres.port),
        redisPort: toRedis.port,
        folder: join(this.folder, `manager-${index}`),
        keys: this.keys,
        blobs: this.blobs,
        archives: this.archives,
        storage: this.storage,
        hosts: this.#hostPorts,
        settings,
      };
      await mkdir(config.folder);
      this.managers.push(this.#process(`manager-${index}`, 'manager-process.ts', config));
    }
    const started = await Promise.allSettled([...this.hosts, ...this.managers].map((part) => part.start()));
    for (const one of started) if (one.status === 'rejected') throw one.reason;
  }

  async #makeAccounts(database: Database): Promise<void> {
    const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
    this.#password = randomUUID();
    await accounts.createUser({ username: administrator, password: this.#password, superuser: true });
    const scopes = [
      'repo:read',
      'repo:write',
      'repo:admin',
      'org:admin',
      'user:admin',
      'super:user',
    ] as const;
    this.#token = (await accounts.createToken(administrator, { name: 'chaos', scopes })).token;
    const named = new Set(this.#schedule.builds.map((build) => `${build.namespace}/${build.repository}`));
    for (const text of named) {
      const name = parseRepositoryName(text);
      if (name === undefined) throw new Error(`${text} is no name of a repository`);
      await accounts.createRepository(name, { visibility: 'private' });
    }
  }

  #process(name: string, module: string, config: object): ManagedProcess {
    const made = new ManagedProcess({
      name,
      module,
      config,
      folder: this.folder,
      mark: this.mark,
      onCrash: (which, how) => {
        this.crashes.push(`${which} ended by itself: ${how}`);
      },
    });
    this.#undo.push(() => made.kill());
    return made;
  }

  async #way(way: Way, targets: readonly number[], count = 1): Promise<TcpProxy> {
    const proxy = await TcpProxy.open({ targets, doors: count });
    this.#ways.set(nameOfWay(way), proxy);
    this.#undo.push(() => proxy.close());
    return proxy;
  }

  processOf({ kind, index }: Target): ManagedProcess {
    return there((kind === 'manager' ? this.managers : this.hosts)[index]);
  }

  wayOf(way: Way): TcpProxy {
    return there(this.#ways.get(nameOfWay(way)));
  }

  setClock(manager: number, offset: number): void {
    there(this.managers[manager]).send({ offset } satisfies ManagerOrder);
  }

  setAllWays(weather: Weather): void {
    for (const proxy of this.#ways.values()) proxy.set(weather);
  }

  /** Workers on a host now; undefined: the host does not answer. */
  async workersOn(host: number): Promise<readonly HostedWorker[] | undefined> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.#hostPorts[host]}/workers`, {
        signal: AbortSignal.timeout(1_000),
      });
      return (await answer.json()) as HostedWorker[];
    } catch {
      return undefined;
    }
  }

  /** Ends everything, whatever state it is in. */
  async [Symbol.asyncDispose](): Promise<void> {
    const faults: unknown[] = [];
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) {
      await undo().catch((thrown: unknown) => faults.push(thrown));
    }
    await rm(this.folder, { recursive: true, force: true });
    if (faults.length > 0) throw new AggregateError(faults, 'parts of the cluster could not be ended');
  }
}

function nameOfWay(way: Way): string {
  return way.kind === 'workers' ? way.kind : `${way.kind}-${way.manager}`;
}

async function lastingPorts(count: number): Promise<number[]> {
  return await Promise.all(Array.from({ length: count }, () => lastingPort()));
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the cluster is not open');
  return value;
}
