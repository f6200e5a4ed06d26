import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql as raw } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Ec2Api } from '../../src/executor/ec2/ec2-api.ts';
import { Ec2Front } from '../fakes/ec2-front.ts';
import { type ScratchDatabase, scratchPostgres } from '../harness/scratch-database.ts';
import { RemoteUser, ServeProcess } from '../harness/serve-process.ts';
import { until } from '../harness/slipway-server.ts';
import { motoImage, startEc2 } from '../services/ec2.ts';
import { findMoto } from '../services/moto.ts';
import type { MotoServer } from '../services/moto-server.ts';
import { freePort } from '../services/service.ts';

/**
 * One build that goes through every kind of executor this server runs: an account of EC2 whose keys are wrong, one whose
 * instance dies, a worker binary that is not ours and tells its token to everybody, and a local worker that builds. Then
 * everything that was written or can be asked for is searched for tokens of workers and secrets of executors.
 */
const moto = await findMoto();
const jwt = /eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}/;
const wrongSecret = 'wrong-secret-of-aws-4711';
const imagePassword = 'password-of-the-image-4711';
const databaseSecret = randomBytes(32).toString('hex');

describe.skipIf('missing' in moto)('a build through all executors', () => {
  let aws: MotoServer;
  let front: Ec2Front;
  /** EC2 as an operator has it. */
  let operator: Ec2Api;
  let scratch: ScratchDatabase;
  let folder: string;
  let server: ServeProcess;
  let user: RemoteUser;
  let site: string;

  beforeAll(async () => {
    if ('missing' in moto) return;
    aws = await startEc2(moto.python);
    front = await new Ec2Front(aws.url).start();
    operator = await Ec2Api.open({
      executor: 'operator',
      region: 'eu-west-1',
      endpoint: aws.url,
      credentials: aws.credentials,
    });
    scratch = await scratchPostgres();
    const { options } = scratch;
    if (options.provider !== 'postgres') throw new Error('this test needs PostgreSQL');
    folder = await mkdtemp(join(tmpdir(), 'slipway-executor-secrets-'));
    await chmod(folder, 0o777);
    const binary = join(folder, 'quay-builder');
    const given = join(folder, 'given.env');
    await writeFile(
      binary,
      `#!/bin/sh\nenv > ${given}\ncat /proc/$PPID/environ /proc/self/cmdline 2> /dev/null\nenv\nexit 3\n`,
      {
        mode: 0o755,
      },
    );
    await chmod(binary, 0o755);
    const port = await freePort();
    site = `127.0.0.1:${port}`;
    const ec2 = {
      EXECUTOR: 'ec2',
      EC2_REGION: 'eu-west-1',
      EC2_ENDPOINT: front.url,
      EC2_INSTANCE_TYPE: 't3.large',
      COREOS_AMI: motoImage,
      QUAY_USERNAME: 'puller',
      QUAY_PASSWORD: imagePassword,
      MINIMUM_RETRY_THRESHOLD: 2,
    };
    server = await ServeProcess.start({
      config: {
        SERVER_HOSTNAME: site,
        PREFERRED_URL_SCHEME: 'http',
        BUILDMAN_HOSTNAME: `localhost:${port}`,
        DB_URI: options.url.replace(/^postgres:/, 'postgresql:'),
        DATABASE_SECRET_KEY: databaseSecret,
        SECRET_KEY: databaseSecret,
        SUPER_USERS: ['root'],
        DISTRIBUTED_STORAGE_CONFIG: { default: ['LocalStorage', { storage_path: join(folder, 'storage') }] },
        DISTRIBUTED_STORAGE_PREFERENCE: ['default'],
        BUILD_MANAGER: [
          'ephemeral',
          {
            ALLOWED_WORKER_COUNT: 2,
            EXECUTORS: [
              {
                ...ec2,
                NAME: 'locked-out',
                AWS_ACCESS_KEY: 'AKIAWRONG00000004711',
                AWS_SECRET_KEY: wrongSecret,
              },
              {
                ...ec2,
                NAME: 'burst',
                AWS_ACCESS_KEY: aws.credentials.accessKey,
                AWS_SECRET_KEY: aws.credentials.secretKey,
              },
              {
                EXECUTOR: 'popen',
                NAME: 'theirs',
                BUILDER_BINARY_LOCATION: binary,
                MINIMUM_RETRY_THRESHOLD: 1,
              },
              { EXECUTOR: 'local', NAME: 'here', BUILD_ENGINE: 'dummy' },
            ],
          },
        ],
        SLIPWAY: {
          LISTEN: { ADDRESS: '127.0.0.1', PORT: port, GRPC_PORT: await freePort() },
          ALLOW_PRIVATE: ['127.0.0.1'],
          DRAIN_TIME: 1,
          RETRY_DELAY: 0,
          DATABASE_CONNECTIONS: 5,
        },
      },
      environment: { AWS_SESSION_TOKEN: 'session-token-of-the-server-4711', BUILD_ENGINE: 'dummy' },
    });
    const password = server.createUser('root');
    user = await RemoteUser.withPassword(`http://${site}`, 'root', password).withToken();
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    operator?.close();
    await front?.[Symbol.asyncDispose]();
    await aws?.[Symbol.asyncDispose]();
    await scratch?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  const secrets = () => [
    aws.credentials.accessKey,
    aws.credentials.secretKey,
    'AKIAWRONG00000004711',
    wrongSecret,
    imagePassword,
    databaseSecret,
    'session-token-of-the-server-4711',
  ];

  function expectClean(where: string, text: string): void {
    const secret = secrets().find((each) => text.includes(each));
    if (secret !== undefined)
      throw new Error(`${where} shows a secret: ${around(text, text.indexOf(secret))}`);
    const token = jwt.exec(text);
    if (token !== null) throw new Error(`${where} shows a token: ${around(text, token.index)}`);
  }

  test('shows what went wrong with each, and no secret anywhere', async () => {
    const instances: string[] = [];
    const userData: string[] = [];
    // The machine ends before its worker has said a word.
    front.onStarted = async (id, data) => {
      instances.push(id);
      userData.push(data);
      await operator.terminate(id, new AbortController().signal);
    };
    const build = await user.build('app', 'FROM scratch\n');
    const view = await build.ends();
    expect(view.phase).toBe('complete');
    expect(view.attempts.map(({ error_code }) => error_code)).toEqual([
      'workernotregistered',
      'workernotregistered',
      null,
    ]);
    const log = (await build.log()).map(({ message }) => message).join('\n');
    // The last lines of the instance's console, and of the other's worker.
    expect(log).toContain('The instance was terminated');
    expect(log).toMatch(/Linux version/);
    expect(log).toMatch(/exited with status 3/);
    expect(log).toContain('TOKEN=[token]');
    expect(instances).toHaveLength(1);
    expect(userData[0]).toContain('3.0.0');

    // Logs, and what is in the data folder but for keys.
    const serverLog = await server.log();
    expect(serverLog).toContain('burst');
    expectClean('the log of the server', serverLog);
    expectClean('the output of the server', await server.output());
    // Each executor has its workers in a folder of its own.
    await until('the end of the workers', async () => {
      const workers = join(server.data, 'workers');
      const of = async (name: string) => await readdir(join(workers, name)).catch(() => []);
      const all = await Promise.all(['', 'here', 'theirs'].map(of));
      return all.flat().every((name) => !/^[0-9a-f-]{36}$/.test(name));
    });
    let searched = 0;
    for (const root of [server.data, join(folder, 'storage')]) {
      for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || entry.parentPath.includes('/keys')) continue;
        const path = join(entry.parentPath, entry.name);
        const bytes = await readFile(path, 'latin1').catch(() => '');
        // The proxy of the registry and its configuration are no part of this.
        if (entry.parentPath.includes('/workers/view')) continue;
        expectClean(path, bytes);
        searched += 1;
      }
    }
    expect(searched).toBeGreaterThan(3);

    // Answers.
    expectClean('the log of the build', log);
    expectClean('the build', JSON.stringify(view));
    for (const path of [
      `/api/v1/repository/root/app/build/${build.id}`,
      `/api/v1/repository/root/app/build/${build.id}/logs`,
      `/api/v1/repository/root/app/build/${build.id}/status`,
      '/api/v1/repository/root/app/build/',
      '/api/v1/superuser/audit',
      '/health/instance',
      '/health/endtoend',
      '/metrics',
    ]) {
      const response = await user.fetch(path);
      expectClean(path, await response.text());
    }

    // Rows.
    const tables = await raw<{
      name: string;
    }>`select table_name as name from information_schema.tables where table_schema = 'public'`.execute(
      scratch.database.sql,
    );
    expect(tables.rows.length).toBeGreaterThan(10);
    for (const { name } of tables.rows) {
      const { rows } = await raw`select * from ${raw.table(name)}`.execute(scratch.database.sql);
      expectClean(`table ${name}`, JSON.stringify(rows));
    }

    // What EC2 was told beside what the machine is told.
    for (const { action, form } of front.calls) {
      form.delete('UserData');
      expectClean(`the call ${action}`, form.toString());
    }
    expect(front.count('RunInstances')).toBeGreaterThanOrEqual(2);
    expect(
      front.calls.some(({ form }) => form.get('TagSpecification.1.Tag.1.Value') === 'Quay Ephemeral Builder'),
    ).toBe(true);

    // The worker that is not ours has its token, and nothing of the server.
    const given = await readFile(join(folder, 'given.env'), 'utf8');
    expect(given).toMatch(/^TOKEN=eyJ/m);
    expect(given).toMatch(new RegExp(`^SERVER=localhost:${site.split(':')[1]}$`, 'm'));
    expectClean('the environment of the other worker', given.replace(/^TOKEN=.*$/m, ''));
  });
});

function around(text: string, at: number): string {
  return text.slice(Math.max(0, at - 200), at + 60);
}
