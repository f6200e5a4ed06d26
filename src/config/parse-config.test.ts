import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import { parseText } from '../../test/fakes/config-text.ts';
import type { Config } from './config.ts';
import { FaultList } from './config-fault.ts';
import { readYaml } from './yaml-file.ts';

const inOrder = 'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite:///slipway.db\n';
const postgres = (more = '') =>
  `SERVER_HOSTNAME: ci.example.com\nDB_URI: postgresql://slipway:pass@db/slipway\nDATABASE_SECRET_KEY: 0123456789abcdef\n${more}`;

function configOf(
  text: string,
  environment: Readonly<Record<string, string>> = {},
  certificate = false,
): Config {
  const { config, faults } = parseText(text, environment, certificate);
  if (config === undefined) throw new Error(faults.map(({ message }) => message).join('\n'));
  return config;
}

function databaseUrl(text: string): URL {
  const { database } = configOf(text);
  if (database.provider !== 'postgres') throw new Error('not PostgreSQL');
  return new URL(database.url.reveal());
}

describe('two keys', () => {
  it('are a server with SQLite that builds on its own machine', () => {
    const { config, warnings, ignored } = parseText(inOrder);
    expect(config).toMatchObject({
      site: { hostname: 'ci.example.com', url: 'http://ci.example.com', scheme: 'http' },
      listen: { address: '0.0.0.0', port: 8080, grpcPort: 50_051, grpcTlsPort: undefined, portTls: false },
      workers: { server: undefined, tls: false, audience: 'ci.example.com' },
      dataFolder: '/var/lib/slipway',
      database: { provider: 'sqlite', file: '/var/lib/slipway/slipway.db' },
      storage: { images: { engine: { provider: 'folder', folder: '/var/lib/slipway/storage' } } },
      limits: { queuedPerNamespace: undefined, upload: 2 ** 30, log: 100 * 2 ** 20, logTail: 10 * 2 ** 20 },
      triggers: { failureThreshold: 100, internalErrorThreshold: 5 },
      retention: { builds: undefined, logs: undefined, audit: 365 * 86_400_000 },
      superUsers: [],
    });
    expect(config?.manager).toMatchObject({
      orchestrator: { provider: 'memory' },
      executors: [{ type: 'local', name: 'local', buildEngine: 'auto', maxWorkers: undefined }],
      settings: {
        allowedWorkerCount: 1,
        jobRegistrationTimeout: 30_000,
        setupTime: 500_000,
        heartbeatTimeout: 60_000,
        lease: 300_000,
        machineMaxTime: 7_200_000,
        retryDelay: 30_000,
      },
    });
    expect({ warnings, ignored }).toEqual({ warnings: [], ignored: [] });
  });
});

describe("a registry's own configuration", () => {
  const parsed = parseText(readFileSync(join(import.meta.dirname, 'fixtures/quay.yaml'), 'utf8'));
  const { config } = parsed;

  it('is read as it is', () => {
    expect(parsed.faults).toEqual([]);
    expect(config?.site).toMatchObject({ url: 'https://quay.example.com', externalTls: true });
    expect(config?.listen).toMatchObject({ portTls: false, tls: undefined });
    expect(config?.workers).toEqual({
      server: 'quay-builder.apps.example.com:443',
      tls: true,
      audience: 'quay-builder.apps.example.com',
    });
    expect(config?.features).toEqual({
      build: true,
      readOnly: false,
      readerBuildLogs: true,
      superUsers: true,
    });
    expect(config?.limits.queuedPerNamespace).toBe(200);
    expect(config?.triggers).toMatchObject({
      failureThreshold: undefined,
      internalErrorThreshold: 10,
      hosts: {
        github: {
          site: 'https://github.example.com/',
          api: undefined,
          oauth: { id: '0e8dbe15c4c7630b6780' },
        },
        gitlab: undefined,
        bitbucket: undefined,
      },
    });
    expect(JSON.stringify(config?.triggers)).not.toContain('e4a58ddd3d7408b7aec109e85564a0d153d3e846');
    expect(config?.triggers.hosts.github?.oauth?.secret.reveal()).toMatch(/^e4a58d/);
    expect(config?.superUsers).toEqual(['quayadmin', 'kim']);
    expect(config?.secrets.database?.reveal()).toHaveLength(32);
  });

  it('has its database with a driver, an escaped password and libpq’s settings of TLS', () => {
    if (config?.database.provider !== 'postgres') throw new Error('not PostgreSQL');
    const url = new URL(config.database.url.reveal());
    expect(url.protocol).toBe('postgresql:');
    expect(url.host).toBe('quay-database.example.com:5433');
    expect(decodeURIComponent(url.password)).toBe('qu@ypass');
    expect(Object.fromEntries(url.searchParams)).toEqual({
      sslmode: 'verify-full',
      sslrootcert: '/conf/stack/database.pem',
      uselibpqcompat: 'true',
    });
  });

  it('has its orchestrator', () => {
    const orchestrator = config?.manager?.orchestrator;
    expect(orchestrator).toMatchObject({
      provider: 'redis',
      prefix: 'buildman/production/',
      redis: { host: 'quay-redis', port: 6379, database: 0, tls: { ca: undefined, certificate: undefined } },
      skipKeyspaceEventSetup: false,
    });
    if (orchestrator?.provider !== 'redis') throw new Error('not Redis');
    expect(orchestrator.redis.password?.reveal()).toBe('eR1xA2');
  });

  it('has its executors, in their order', () => {
    const [openshift, burst, ...more] = config?.manager?.executors ?? [];
    expect(more).toEqual([]);
    expect(openshift).toMatchObject({
      type: 'kubernetesPodman',
      name: 'openshift',
      setupTime: 180_000,
      rules: { minimumRetryThreshold: 1, cordoned: false },
      image: 'registry.example.com/quay/quay-builder-rhel8:v3.12',
      distribution: 'openshift',
      // Left out as templates do it: KEY: "".
      nodeSelector: undefined,
      cpuLimit: '1',
      worker: { containerRuntime: 'podman', proxies: { HTTP_PROXY: 'http://proxy.example.com:3128' } },
    });
    expect(burst).toMatchObject({
      type: 'ec2',
      name: 'burst',
      setupTime: 300_000,
      rules: { namespaceWhitelist: ['heavy', 'kernels'], stagedRollout: 0.25 },
      // A number in YAML, a tag to people.
      worker: { tag: '3.10', imageCredentials: { username: 'robot+builder' } },
      region: 'us-east-1',
      securityGroups: ['sg-8ab78bc7'],
      diskSize: 58,
    });
    expect(config?.manager?.settings).toMatchObject({
      setupTime: 300_000,
      setupTimes: { openshift: 180_000, burst: 300_000 },
    });
  });

  it('has its storage: images, uploads and logs where it says', () => {
    expect(config?.storage).toMatchObject({
      images: {
        name: 'radosGWStorage',
        path: '',
        engine: {
          provider: 's3',
          service: 'radosgw',
          bucket: 'quay-images',
          prefix: 'datastorage/registry',
          endpoint: 'https://s3.ceph.example.com:443',
          pathStyle: true,
        },
      },
      uploads: {
        name: 'disk',
        path: 'userfiles',
        engine: { provider: 'folder', folder: '/datastorage/registry' },
      },
      logArchive: {
        name: 'archive',
        path: 'archives/buildlogs',
        engine: {
          service: 's3',
          bucket: 'quay-archive',
          prefix: 'quay',
          region: 'eu-central-1',
          pathStyle: false,
        },
      },
    });
  });

  it('has everything that is of no effect named', () => {
    const paths = parsed.ignored.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining([
        'AUTHENTICATION_TYPE',
        'OKTA_LOGIN_CONFIG.SERVICE_ICON',
        'BUILDLOGS_REDIS',
        'DB_CONNECTION_ARGS.threadlocals',
        'DISTRIBUTED_STORAGE_CONFIG.google[1].boto_timeout',
      ]),
    );
    expect(paths).not.toContain('BUILD_MANAGER');
    expect(parsed.warnings).toEqual([]);
  });
});

describe('a configuration', () => {
  it('shows no secret, however it is printed', () => {
    const config = configOf(
      postgres(
        'SECRET_KEY: hunter2hunter2hunter2\nBUILD_MANAGER: [ephemeral, { ORCHESTRATOR: { REDIS_PASSWORD: hunter2 } }]\n',
      ).replace('pass@', 'hunter2@'),
    );
    const printed = [inspect(config, { depth: 20 }), JSON.stringify(config), `${config.secrets.session}`];
    for (const text of printed) expect(text).not.toContain('hunter2');
    expect(config.secrets.session?.reveal()).toBe('hunter2hunter2hunter2');
  });

  it('has its former keys as the current one was made, and shows none', () => {
    const hex = '0123456789ABCDEF'.repeat(4);
    const config = configOf(
      postgres(`SLIPWAY: { FORMER_DATABASE_SECRET_KEYS: [${hex}, hunter2hunter2hunter2] }\n`),
    );
    const [first, second] = config.secrets.formerDatabase.map((key) => Buffer.from(key.reveal()));
    expect(first).toEqual(Buffer.from(hex, 'hex'));
    const before = configOf(`${inOrder}DATABASE_SECRET_KEY: hunter2hunter2hunter2\n`);
    expect(second).toEqual(Buffer.from(before.secrets.database?.reveal() ?? []));
    for (const text of [inspect(config, { depth: 20 }), JSON.stringify(config)]) {
      expect(text).not.toContain('hunter2');
      expect(text).not.toContain(hex);
    }
  });

  it.each([
    { SLIPWAY__FORMER_DATABASE_SECRET_KEYS: '[odd, key: with, commas' },
    { SLIPWAY__FORMER_DATABASE_SECRET_KEYS__0: '[odd, key: with, commas' },
    { SLIPWAY__FORMER_DATABASE_SECRET_KEYS_FILE: '/run/secrets/odd-key' },
    { SLIPWAY__FORMER_DATABASE_SECRET_KEYS__0_FILE: '/run/secrets/odd-key' },
  ])('takes a former key from the environment as it is: %j', (environment) => {
    const odd = '[odd, key: with, commas';
    const parsed = parseText(inOrder, environment);
    expect(parsed.faults).toEqual([]);
    const before = parseText(inOrder, { SLIPWAY_DATABASE_SECRET_KEY: odd }).config;
    expect(parsed.config?.secrets.formerDatabase.map((key) => key.reveal())).toEqual([
      before?.secrets.database?.reveal(),
    ]);
  });

  it('cannot be changed', () => {
    const config = configOf(inOrder);
    expect(() => Object.assign(config.site, { url: 'http://evil.example' })).toThrow(TypeError);
    expect(Object.isFrozen(config.manager?.executors)).toBe(true);
  });

  it('is the same in the old form of a single executor', () => {
    const old = configOf(
      `${inOrder}BUILD_MANAGER: [ephemeral, { EXECUTOR: popen, EXECUTOR_CONFIG: { NAME: a, BUILDER_BINARY_LOCATION: /bin/b } }]\n`,
    );
    const list = configOf(
      `${inOrder}BUILD_MANAGER: [ephemeral, { EXECUTORS: [{ EXECUTOR: popen, NAME: a, BUILDER_BINARY_LOCATION: /bin/b }] }]\n`,
    );
    expect(old).toEqual(list);
    expect(old.manager?.executors[0]).toMatchObject({ type: 'local', name: 'a', binary: '/bin/b' });
  });

  it.each([
    ['BUILD_MANAGER: [external, {}]'],
    ['FEATURE_BUILD_SUPPORT: false'],
    ['REGISTRY_STATE: readonly'],
  ])('leaves building to others: %s', (line) => {
    expect(configOf(`${inOrder}${line}\n`).manager).toBeUndefined();
  });

  it('may use anchors, aliases and merged mappings', () => {
    const { manager } = configOf(
      `${inOrder}BUILD_MANAGER:\n- ephemeral\n- EXECUTORS:\n  - &base { EXECUTOR: local, NAME: a, MAX_WORKERS: 3 }\n  - { <<: *base, NAME: b }\n`,
    );
    expect(manager?.executors).toMatchObject([
      { name: 'a', maxWorkers: 3 },
      { name: 'b', maxWorkers: 3 },
    ]);
  });

  it('may begin with a byte order mark, have Windows line ends and be JSON', () => {
    expect(configOf(`\uFEFF${inOrder.replaceAll('\n', '\r\n')}`).site.hostname).toBe('ci.example.com');
    expect(
      configOf(JSON.stringify({ SERVER_HOSTNAME: 'a.example', DB_URI: 'sqlite:////data/a.db' })).database,
    ).toEqual({ provider: 'sqlite', file: '/data/a.db' });
  });

  it('warns of what works for a single server only', () => {
    expect(parseText(postgres()).warnings.map(({ path }) => path)).toEqual([
      'BUILD_MANAGER[1].ORCHESTRATOR',
      'DISTRIBUTED_STORAGE_CONFIG',
    ]);
  });

  it('warns of a host name that clients take for something else', () => {
    const warned = (host: string) =>
      parseText(inOrder.replace('ci.example.com', host)).warnings.map(({ path }) => path);
    expect(warned('builds')).toEqual(['SERVER_HOSTNAME']);
    for (const host of ['builds:8080', 'builds.lan', 'localhost', '"[::1]:8080"'])
      expect(warned(host)).toEqual([]);
  });

  it('has a key for secrets as 64 digits, or stretched from any text, the same every time', () => {
    const key = (text: string) =>
      Buffer.from(
        configOf(`${inOrder}DATABASE_SECRET_KEY: "${text}"\n`).secrets.database?.reveal() ?? [],
      ).toString('hex');
    expect(key('0F'.repeat(32))).toBe('0f'.repeat(32));
    expect(key('a text of some length')).toMatch(/^[0-9a-f]{64}$/);
    expect(key('a text of some length')).toBe(key('a text of some length'));
    expect(key('a text of some length')).not.toBe(key('a text of some length.'));
  });
});

describe('the address of workers', () => {
  const remote = 'EXECUTORS: [{ EXECUTOR: ec2, EC2_REGION: eu, EC2_INSTANCE_TYPE: t3 }]';
  const https = 'PREFERRED_URL_SCHEME: https\n';
  it.each([
    ['is this server’s own port, when all are on this machine', '', undefined, false],
    [
      'is host and 55443, when the manager has no name of its own',
      `${https}BUILD_MANAGER: [ephemeral, { ${remote} }]\n`,
      'ci.example.com:55443',
      true,
    ],
    [
      'is host and 55443, when the manager has the name of the server',
      `${https}BUILDMAN_HOSTNAME: ci.example.com\nBUILD_MANAGER: [ephemeral, { ${remote} }]\n`,
      'ci.example.com:55443',
      true,
    ],
    [
      'is the one port behind the scheme',
      `${https}SLIPWAY: { LISTEN: { ONE_PORT: true } }\nBUILD_MANAGER: [ephemeral, { ${remote} }]\n`,
      'ci.example.com:443',
      true,
    ],
    [
      'is clear text at the port for clear text',
      `${https}BUILDMAN_HOSTNAME: grpc.example.com:50051\n`,
      'grpc.example.com:50051',
      false,
    ],
    [
      'is TLS when it is said',
      'BUILDMAN_HOSTNAME: grpc.example.com:8443\nSLIPWAY: { WORKER_TLS: true }\n',
      'grpc.example.com:8443',
      true,
    ],
  ])('%s', (_name, lines, server, tls) => {
    expect(configOf(`${inOrder}${lines}`, {}, true).workers).toMatchObject({ server, tls });
  });
});

describe('a certificate', () => {
  it('is taken from beside the configuration file', () => {
    expect(configOf(`${inOrder}PREFERRED_URL_SCHEME: https\n`, {}, true).listen).toMatchObject({
      portTls: true,
      grpcTlsPort: 55_443,
      tls: { certificate: '/etc/slipway/ssl.cert', key: '/etc/slipway/ssl.key' },
    });
  });

  it('is another one when that is said', () => {
    const tls = 'SLIPWAY: { TLS: { CERTIFICATE: /c.pem, KEY: /k.pem } }\n';
    expect(configOf(`${inOrder}${tls}`, {}, true).listen).toMatchObject({
      portTls: false,
      tls: { certificate: '/c.pem', key: '/k.pem' },
    });
  });
});

describe('the URL of PostgreSQL', () => {
  it.each([
    ['postgres://slipway:pass@db/slipway'],
    ['postgresql+psycopg2://slipway:pass@db/slipway'],
    ['POSTGRESQL://slipway:pass@db/slipway'],
  ])('is the same for %s', (uri) => {
    expect(databaseUrl(postgres().replace('postgresql://slipway:pass@db/slipway', uri)).href).toBe(
      'postgresql://slipway:pass@db/slipway',
    );
  });

  it.each([
    ['sslmode: require', { rejectUnauthorized: false }],
    ['sslmode: disable', false],
    ['sslmode: allow', false],
    ['sslmode: verify-full', {}],
  ])('means with %s what libpq means', (line, ssl) => {
    const url = databaseUrl(postgres(`DB_CONNECTION_ARGS: { ${line} }\n`));
    expect(new Client({ connectionString: url.href }).ssl).toEqual(ssl);
  });

  it('checks the authority when only that is given', () => {
    const url = databaseUrl(postgres('DB_CONNECTION_ARGS: { ssl: { ca: /etc/ca.pem } }\n'));
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      sslmode: 'verify-ca',
      sslrootcert: '/etc/ca.pem',
    });
  });
});

describe('the environment', () => {
  it('goes before the file, and the file before the defaults', () => {
    const file = `${inOrder}SLIPWAY: { LISTEN: { PORT: 8081 }, DRAIN_TIME: 1m }\n`;
    const { listen, manager } = configOf(file, { SLIPWAY__LISTEN__PORT: '9000' });
    expect(listen.port).toBe(9000);
    expect(manager?.drain).toBe(60_000);
    expect(configOf(file).listen.port).toBe(8081);
    expect(configOf(inOrder).listen.port).toBe(8080);
  });

  it('can be all there is besides an empty mapping', () => {
    const { site, database } = configOf('{}', {
      SLIPWAY_SERVER_HOSTNAME: 'a.example',
      SLIPWAY_DB_URI: 'sqlite:///a.db',
    });
    expect(site.hostname).toBe('a.example');
    expect(database).toEqual({ provider: 'sqlite', file: '/var/lib/slipway/a.db' });
  });

  it('leads into pairs and lists', () => {
    const { manager, storage } = configOf(
      `${inOrder}DISTRIBUTED_STORAGE_CONFIG: { s3: [S3Storage, { s3_bucket: b }] }\n`,
      {
        SLIPWAY_BUILD_MANAGER__ORCHESTRATOR__REDIS_HOST: 'redis',
        SLIPWAY_BUILD_MANAGER__1__ORCHESTRATOR__REDIS_PORT: '6380',
        SLIPWAY_BUILD_MANAGER__EXECUTORS__0__EXECUTOR: 'popen',
        SLIPWAY_BUILD_MANAGER__EXECUTORS__0__NAME: 'mine',
        SLIPWAY_DISTRIBUTED_STORAGE_CONFIG__s3__s3_access_key: 'AKIA',
        SLIPWAY_DISTRIBUTED_STORAGE_CONFIG__s3__s3_secret_key: 'hunter2',
      },
    );
    expect(manager?.orchestrator).toMatchObject({ redis: { host: 'redis', port: 6380 } });
    expect(manager?.executors).toMatchObject([{ name: 'mine' }]);
    expect(storage.images.engine).toMatchObject({ credentials: { accessKey: 'AKIA' } });
  });

  it('has lists joined by commas or as YAML, and whole blocks as YAML', () => {
    expect(configOf(inOrder, { SLIPWAY_SUPER_USERS: 'kim, ada' }).superUsers).toEqual(['kim', 'ada']);
    expect(configOf(inOrder, { SLIPWAY_SUPER_USERS: '["a,b"]' }).superUsers).toEqual(['a,b']);
    const { manager } = configOf(inOrder, {
      SLIPWAY_BUILD_MANAGER: '[ephemeral, { ALLOWED_WORKER_COUNT: 7, EXECUTORS: [{ EXECUTOR: local }] }]',
    });
    expect(manager?.settings.allowedWorkerCount).toBe(7);
    expect(
      configOf(inOrder, { SLIPWAY_BUILD_MANAGER: '[ephemeral, { EXECUTOR: popen }]' }).manager?.executors,
    ).toMatchObject([{ type: 'local', name: 'popen' }]);
    expect(
      configOf(inOrder, { SLIPWAY_BUILD_MANAGER__1: '{ ALLOWED_WORKER_COUNT: 3 }' }).manager,
    ).toMatchObject({ settings: { allowedWorkerCount: 3 }, executors: [{ type: 'local' }] });
  });

  it('may hold a secret that looks like YAML', () => {
    const { secrets } = configOf(inOrder, { SLIPWAY_SECRET_KEY: '[a, secret, that, is, long]' });
    expect(secrets.session?.reveal()).toBe('[a, secret, that, is, long]');
  });

  it('has secrets in files', () => {
    const { secrets } = configOf(inOrder, { SLIPWAY_SECRET_KEY_FILE: '/run/secrets/key' });
    expect(secrets.session?.reveal()).toBe('fedcba9876543210');
  });

  it('leaves other programs’ variables, its own and those of Kubernetes alone', () => {
    const { faults } = parseText(inOrder, {
      SLIPWAY_TOKEN: 'x',
      SLIPWAY_STATE_DIR: '/x',
      SLIPWAY_PORT: 'tcp://10.0.0.1:8080',
      SLIPWAY_SERVICE_HOST: '10.0.0.1',
      SLIPWAY_REDIS_PORT_6379_TCP_ADDR: '10.0.0.2',
      SLIPWAY_MAIL_SERVER: 'ignored as in the file',
      SLIPWAY_SECRET_KEY: '',
      PATH: '/bin',
    });
    expect(faults).toEqual([]);
  });
});

describe('any file', () => {
  it('is read or refused, and never breaks the reader', () => {
    const scraps = fc.constantFrom(
      'SERVER_HOSTNAME: a\n',
      'DB_URI: ',
      'BUILD_MANAGER:\n',
      '- ephemeral\n',
      '- ',
      '  ',
      '{',
      '}',
      '[',
      ']',
      ': ',
      '&a ',
      '*a ',
      '<<: ',
      '!!binary ',
      '"',
      "'",
      '|\n',
      '>-\n',
      '\t',
      '---\n',
      '# x\n',
      'EXECUTORS: ',
      'ORCHESTRATOR: ',
      'REDIS_HOST: ',
      'null',
      '~',
      '1e9',
      '\u2028',
      '\uFEFF',
      '%YAML 1.2\n',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(scraps, fc.string()), { maxLength: 30 }), (parts) => {
        const { config, faults } = parseText(parts.join(''));
        expect(config === undefined).toBe(faults.length > 0);
        for (const { message } of faults) expect(message).not.toBe('');
      }),
      { numRuns: 500 },
    );
  });

  it('of any bytes is text or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const faults = new FaultList();
        const tree = readYaml(bytes, faults);
        expect(tree !== undefined || !faults.empty).toBe(true);
      }),
    );
  });

  it('keeps the same meaning through JSON', () => {
    const name = fc.stringMatching(/^[a-z]{1,12}$/);
    fc.assert(
      fc.property(
        fc.record({ users: fc.uniqueArray(name), port: fc.integer({ min: 0, max: 65_535 }) }),
        ({ users, port }) => {
          const { config, faults } = parseText(
            JSON.stringify({
              SERVER_HOSTNAME: 'ci.example.com',
              DB_URI: 'sqlite:///a.db',
              SUPER_USERS: users,
              SLIPWAY: { LISTEN: { PORT: port, ONE_PORT: true } },
            }),
          );
          expect(faults).toEqual([]);
          expect(config?.superUsers).toEqual(users);
          expect(config?.listen.port).toBe(port);
        },
      ),
    );
  });
});

describe('git hosts', () => {
  const nothing = { site: undefined, api: undefined, oauth: undefined };

  it('are switched on alone, for people who bring tokens', () => {
    const { triggers } = configOf(
      `${inOrder}FEATURE_GITHUB_BUILD: true\nFEATURE_GITLAB_BUILD: true\nFEATURE_BITBUCKET_BUILD: true\n`,
    );
    expect(triggers.hosts).toEqual({ github: nothing, gitlab: nothing, bitbucket: nothing });
  });

  it('are servers of one’s own, with secrets in files', () => {
    const { hosts } = configOf(
      `${inOrder}FEATURE_GITHUB_BUILD: true
GITHUB_TRIGGER_CONFIG: { GITHUB_ENDPOINT: "https://github.example.com/", API_ENDPOINT: "https://api.example.com/v3/" }
FEATURE_GITLAB_BUILD: true
GITLAB_TRIGGER_CONFIG: { GITLAB_ENDPOINT: "https://example.com/gitlab/", CLIENT_ID: abc }
FEATURE_BITBUCKET_BUILD: true
BITBUCKET_TRIGGER_CONFIG: { CONSUMER_KEY: key, CONSUMER_SECRET: hunter2 }
`,
      { SLIPWAY_GITLAB_TRIGGER_CONFIG__CLIENT_SECRET_FILE: '/run/secrets/key' },
    ).triggers;
    expect(hosts).toMatchObject({
      github: { site: 'https://github.example.com/', api: 'https://api.example.com/v3/', oauth: undefined },
      gitlab: { site: 'https://example.com/gitlab/', oauth: { id: 'abc' } },
      bitbucket: { oauth: { id: 'key' } },
    });
    expect(hosts.gitlab?.oauth?.secret.reveal()).toBe('fedcba9876543210');
    expect(JSON.stringify(hosts)).not.toContain('hunter2');
  });
});
