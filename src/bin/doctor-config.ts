import { join } from 'node:path';
import { Client } from 'pg';
import { pino } from 'pino';
import { systemClock as clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import type { Config, DatabaseConfig, ExecutorConfig, OrchestratorConfig } from '../config/config.ts';
import { ConfigError } from '../config/config-error.ts';
import { inspectConfig } from '../config/load-config.ts';
import { faultLines } from '../config/report.ts';
import type { Executor, WorkerOrder } from '../executor/executor.ts';
import { maskSecrets } from '../executor/mask-secrets.ts';
import { newAttemptId, newBuildId } from '../model/ids.ts';
import { type Finding, missing, ok } from '../setup/finding.ts';
import { checkDataFolder, checkPackages } from '../setup/machine-check.ts';
import { buildPackages } from '../setup/package-list.ts';
import { blobStoreCheck } from '../telemetry/health-check.ts';
import { composeRemoteExecutor, secretsOf } from './compose-executors.ts';
import { composeOrchestrator } from './compose-orchestrator.ts';
import { composeBlobStore } from './compose-storage.ts';
import { checkMachine, searchPath } from './doctor-machine.ts';
import { checkPort } from './doctor-server.ts';
import type { ProcessEnvironment } from './environment.ts';

const patience = 10_000;

/** What `serve` with this configuration needs, on this machine and elsewhere. Writes a trial file to the storage, no more. */
export async function* checkConfiguration(
  environment: ProcessEnvironment,
  file: string,
): AsyncGenerator<readonly Finding[]> {
  const config = read(environment, file);
  if (!('site' in config)) {
    yield [config];
    return;
  }
  yield [ok('configuration', `${file} is in order`)];
  const executors = config.manager?.executors ?? [];
  if (executors.some(buildsHere)) yield* checkMachine(environment, config.dataFolder);
  else {
    const registry = buildPackages.filter(({ name }) => name === 'docker-registry');
    yield await checkPackages(registry, searchPath(environment));
    yield await checkDataFolder(config.dataFolder, { name: '', own: true });
  }
  if (config.listen.port !== 0) yield [await checkPort(config.listen.address, config.listen.port)];
  yield [await checkDatabase(config.database)];
  if (config.manager !== undefined) yield [await checkOrchestrator(config.manager.orchestrator)];
  yield await checkStorage(config);
  yield await Promise.all(executors.map((entry) => checkExecutor(entry, config, environment)));
}

/** The configuration, or what is wrong with it. */
function read(environment: ProcessEnvironment, file: string): Config | Finding {
  const mend = `slipway config check ${file}`;
  try {
    const { config, faults } = inspectConfig({
      file,
      environment: environment.variables,
      dataFolder: join(environment.dataHome, 'slipway'),
    });
    return config ?? missing('configuration', faultLines(file, faults).join(' '), mend);
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    return missing('configuration', thrown.message, mend);
  }
}

function buildsHere(executor: ExecutorConfig): boolean {
  return executor.type === 'local' && executor.binary === undefined && executor.buildEngine !== 'dummy';
}

/** Reached and signed in to; its schema is left as it is. */
async function checkDatabase(config: DatabaseConfig): Promise<Finding> {
  const name = 'database';
  if (config.provider === 'sqlite') return ok(name, `SQLite in ${config.file}`);
  const url = config.url.reveal();
  const { hostname, port, pathname, username } = new URL(url);
  const where = `${hostname}:${port === '' ? 5432 : port}`;
  const client = new Client({ connectionString: url, connectionTimeoutMillis: patience });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ server_version: string; may: boolean }>(
      `select current_setting('server_version') as server_version, has_schema_privilege('public', 'CREATE') as may`,
    );
    const [row] = rows;
    if (row?.may === false)
      return missing(
        name,
        `${username} may not make tables in ${pathname.slice(1)} on ${where}, and the first server has to.`,
        `psql -h ${hostname} -d ${pathname.slice(1)} -c 'grant create on schema public to "${username}"'`,
      );
    return ok(name, `PostgreSQL ${row?.server_version ?? ''} on ${where}`);
  } catch (thrown) {
    const said = maskSecrets(messageOf(thrown), [decodeURIComponent(new URL(url).password)]);
    return missing(
      name,
      `PostgreSQL on ${where} cannot be used: ${said}.`,
      `psql -h ${hostname} -p ${port === '' ? 5432 : port} -U ${username} -d ${pathname.slice(1)} -c 'select 1'`,
    );
  } finally {
    await client.end().catch(() => {});
  }
}

async function checkOrchestrator(config: OrchestratorConfig): Promise<Finding> {
  const name = 'redis';
  if (config.provider === 'memory') return ok(name, 'not needed: this is the only server');
  const { host, port } = config.redis;
  const mend = `redis-cli -h ${host} -p ${port} ping`;
  try {
    const orchestrator = await composeOrchestrator(
      // Its settings are left as they are.
      { ...config, skipKeyspaceEventSetup: true },
      { clock, logger: pino({ enabled: false }) },
    );
    try {
      for (const end = performance.now() + patience; performance.now() < end; await clock.sleep(50))
        if (orchestrator.connected) return ok(name, `connected to ${host}:${port}`);
      return missing(name, `Redis on ${host}:${port} does not answer.`, mend);
    } finally {
      await orchestrator.close();
    }
  } catch (thrown) {
    const password = config.redis.password?.reveal();
    const said = maskSecrets(messageOf(thrown), password === undefined ? [] : [password]);
    return missing(name, `Redis on ${host}:${port} cannot be used: ${said}`, mend);
  }
}

async function checkStorage({ storage }: Config): Promise<readonly Finding[]> {
  return await Promise.all(
    (
      [
        ['storage of uploads', storage.uploads],
        ['storage of logs', storage.logArchive],
      ] as const
    ).map(async ([name, place]) => {
      const secret =
        place.engine.provider === 's3' ? place.engine.credentials?.secretKey.reveal() : undefined;
      try {
        const blobs = await composeBlobStore(place);
        try {
          await blobStoreCheck(blobs).check(AbortSignal.timeout(patience));
        } finally {
          await blobs.stop();
        }
        return ok(name, `files can be written to ${place.name}, read and removed`);
      } catch (thrown) {
        const said = maskSecrets(messageOf(thrown), secret === undefined ? [] : [secret]);
        return missing(
          name,
          `${place.name} of DISTRIBUTED_STORAGE_CONFIG cannot be used: ${said}`,
          place.engine.provider === 'folder' ? `sudo install -d -m 0700 ${place.engine.folder}` : undefined,
        );
      }
    }),
  );
}

async function checkExecutor(
  entry: ExecutorConfig,
  { site }: Config,
  environment: ProcessEnvironment,
): Promise<Finding> {
  const name = `executor ${entry.name}`;
  // What it needs is what the machine was looked at for.
  if (entry.type === 'local') return ok(name, entry.binary ?? 'on this machine');
  try {
    const executor = await composeRemoteExecutor(entry, {
      environment,
      site: site.hostname,
      // None is started.
      allowedWorkers: 0,
      clock,
      logger: pino({ level: 'silent' }),
    });
    try {
      return await checkRemoteExecutor(executor, secretsOf(entry));
    } finally {
      await executor.close();
    }
  } catch (thrown) {
    return missing(name, messageOf(thrown));
  }
}

/** What an executor of another machine says itself: whether it is reached, and may start workers. */
export async function checkRemoteExecutor(
  executor: Pick<Executor, 'name' | 'check'>,
  secrets: readonly string[] = [],
): Promise<Finding> {
  const name = `executor ${executor.name}`;
  const passed: string[] = [];
  try {
    for await (const step of executor.check?.(nobodysOrder(), AbortSignal.timeout(patience)) ?? [])
      passed.push(step);
    return ok(
      name,
      passed.length === 0 ? 'cannot be looked at without starting a worker' : passed.join(', '),
    );
  } catch (thrown) {
    return missing(
      name,
      `Not ${passed.includes('reachable') ? 'allowed' : 'reachable'}: ${maskSecrets(messageOf(thrown), secrets)}`,
      `slipway executor test ${executor.name}`,
    );
  }
}

/** For what is only asked whether it could be. */
function nobodysOrder(): WorkerOrder {
  return {
    buildId: newBuildId(),
    attemptId: newAttemptId(),
    epoch: 1,
    namespace: 'slipway-doctor',
    platform: '',
    triesLeft: 0,
    token: 'none',
    server: 'localhost:443',
    serverTls: true,
    registryHost: 'localhost',
    maxLifetime: 60_000,
  };
}
