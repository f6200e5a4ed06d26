import Type, { type Static, type TProperties } from 'typebox';
import { executorSchema } from './executor-schema.ts';
import {
  bytes,
  choice,
  duration,
  durationOrNull,
  flag,
  list,
  port,
  text,
  whole,
  wholeOrNull,
} from './leaf.ts';
import { memoryOrchestratorSchema, redisOrchestratorSchema, redisSchema } from './redis-schema.ts';
import { storageKeys } from './storage-schema.ts';

const hostPattern = '^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$';

const siteKeys = {
  SERVER_HOSTNAME: text('Name under which clients reach the server and its registry, as in image names.', {
    pattern: hostPattern,
    allowed: 'HOST or HOST:PORT, without http:// or https://',
  }),
  PREFERRED_URL_SCHEME: choice(['http', 'https'], 'How clients reach the server.', { default: 'http' }),
  EXTERNAL_TLS_TERMINATION: flag(
    'Something in front of Slipway speaks TLS; Slipway itself listens in clear text.',
    { default: false },
  ),
  BUILDMAN_HOSTNAME: Type.Optional(
    text(
      'Address under which workers reach the manager. Without it, or when it is SERVER_HOSTNAME, they use the host of SERVER_HOSTNAME and port 55443; workers on this machine use this server’s own port.',
      { pattern: hostPattern, allowed: 'HOST:PORT, without http:// or https://' },
    ),
  ),
  FEATURE_LISTEN_IP_VERSION: choice(['IPv4', 'IPv6', 'dual-stack'], 'Addresses to listen on.', {
    default: 'IPv4',
  }),
};

const databaseKeys = {
  DB_URI: text(
    'Database: `postgresql://USER:PASSWORD@HOST:PORT/NAME` (also `postgresql+psycopg2://`), or `sqlite:///FILE` for a single server. A relative SQLite file is below the data folder; `sqlite:////FILE` is absolute.',
    { secret: 'url', allowed: 'postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE' },
  ),
  DB_CONNECTION_ARGS: Type.Optional(
    Type.Object(
      {
        ssl: Type.Optional(
          Type.Object(
            { ca: text('File (PEM) of the authority that signed the certificate of the database.') },
            { description: 'TLS to the database.' },
          ),
        ),
        sslmode: Type.Optional(
          choice(
            ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'],
            'TLS to PostgreSQL, as libpq means it.',
          ),
        ),
        sslrootcert: Type.Optional(text('The same as `ssl.ca`.')),
        sslcert: Type.Optional(text('File (PEM) of the certificate to show to the database.')),
        sslkey: Type.Optional(text('File (PEM) of the key of `sslcert`.')),
      },
      {
        description: 'Further settings of the connection.',
        ignores: [
          'autorollback',
          'connect_timeout',
          'keepalives',
          'keepalives_count',
          'keepalives_idle',
          'keepalives_interval',
          'tcp_user_timeout',
          'threadlocals',
        ],
      },
    ),
  ),
  DATABASE_SECRET_KEY: Type.Optional(
    text(
      'Seals secrets in the database; all managers have the same, for ever. 64 hexadecimal digits are the key itself; any other text is stretched to one. Needed with PostgreSQL.',
      { secret: true, allowed: 'a text of at least 16 characters', pattern: '^[\\s\\S]{16,}$' },
    ),
  ),
  SECRET_KEY: Type.Optional(
    text('Signs sessions; all managers have the same.', {
      effect: 'none',
      secret: true,
      allowed: 'a text of at least 16 characters',
      pattern: '^[\\s\\S]{16,}$',
    }),
  ),
};

const redisKeys = {
  BUILDLOGS_REDIS: Type.Optional(redisSchema('Redis of Quay’s logs. Slipway keeps logs in the database.')),
  USER_EVENTS_REDIS: Type.Optional(
    redisSchema('Redis of Quay’s events. Slipway has them carried by ORCHESTRATOR.'),
  ),
};

const managerSchema = Type.Object(
  {
    ALLOWED_WORKER_COUNT: whole('Workers that run at once, counted over all managers and executors.', {
      default: 1,
      minimum: 1,
      maximum: 100_000,
    }),
    ORCHESTRATOR_PREFIX: text('In front of all keys in Redis.', { default: 'slipway' }),
    ORCHESTRATOR: Type.Optional(
      Type.Union([redisOrchestratorSchema, memoryOrchestratorSchema], {
        chosenBy: 'prefix',
        allowed: 'a mapping of keys that begin with REDIS_ or MEM_',
        description:
          'What knows the running builds, reminds of their expiry and carries events between managers. Several managers need Redis.',
      }),
    ),
    JOB_REGISTRATION_TIMEOUT: duration('A claimed build has its worker started in this time.', {
      default: 30,
      minimum: 1,
    }),
    MACHINE_MAX_TIME: duration('The most that one try of a build may take.', { default: 7200, minimum: 60 }),
    EXECUTORS: Type.Optional(
      Type.Array(executorSchema, {
        description:
          'Where workers run, in the order in which they are asked. Without it: one `local`. The old form, EXECUTOR with EXECUTOR_CONFIG, works too.',
      }),
    ),
  },
  { description: 'Settings of the build manager.' },
);

const buildKeys = {
  FEATURE_BUILD_SUPPORT: flag('Builds at all.', { default: true }),
  FEATURE_READER_BUILD_LOGS: flag('Who may read a repository may read the logs of its builds.', {
    default: false,
  }),
  BUILD_MANAGER: Type.Optional(
    Type.Union(
      [
        Type.Tuple([Type.Literal('ephemeral'), managerSchema], { variant: 'ephemeral' }),
        Type.Tuple([Type.Literal('external'), Type.Object({}, { open: '' })], { variant: 'external' }),
      ],
      {
        chosenBy: 'first',
        allowed: 'a list of two: ephemeral, and a mapping of its settings',
        description:
          'A list of two: `ephemeral` and the settings of the build manager, or `external` and an empty mapping for a server that takes builds and leaves them to others.',
      },
    ),
  ),
  DEFAULT_NAMESPACE_MAXIMUM_BUILD_COUNT: wholeOrNull(
    'Builds of one namespace that may wait; more are refused (HTTP 429).',
    'any number',
    { minimum: 1 },
  ),
  SUCCESSIVE_TRIGGER_FAILURE_DISABLE_THRESHOLD: wholeOrNull(
    'A trigger is switched off after so many failures in a row.',
    'never',
    { minimum: 1, default: 100, effect: 'none' },
  ),
  SUCCESSIVE_TRIGGER_INTERNAL_ERROR_DISABLE_THRESHOLD: wholeOrNull(
    'A trigger is switched off after so many internal errors in a row.',
    'never',
    { minimum: 1, default: 5, effect: 'none' },
  ),
  MAXIMUM_LAYER_SIZE: bytes('Largest layer of an image.', { default: '20G', effect: 'none' }),
};

const accountKeys = {
  SUPER_USERS: list(text('Name of a user.'), 'Users that may do everything.'),
  FEATURE_SUPER_USERS: flag('There are superusers at all.', { default: true }),
};

const slipwayKeys = {
  SLIPWAY: Type.Object(
    {
      DATA_FOLDER: Type.Optional(
        text(
          'Folder of this server’s own files. Without it `/var/lib/slipway`, or for a user `~/.local/share/slipway`.',
          {
            pattern: '^/',
            allowed: 'an absolute path',
          },
        ),
      ),
      LISTEN: Type.Object(
        {
          ADDRESS: Type.Optional(
            text('Address to listen on. Without it, all those of FEATURE_LISTEN_IP_VERSION.', {
              pattern: '^[0-9A-Za-z.:-]+$',
              allowed: 'an address such as 127.0.0.1 or ::',
            }),
          ),
          PORT: port('Port of REST, registry and gRPC. 0 chooses a free one.', { default: 8080, minimum: 0 }),
          ONE_PORT: flag('Opens no other port than PORT; workers use it too.', { default: false }),
          GRPC_PORT: port('Port of gRPC in clear text.', { default: 50_051 }),
          GRPC_TLS_PORT: port('Port of gRPC by TLS; opened when there is a certificate.', {
            default: 55_443,
          }),
        },
        { description: 'Where the server listens.' },
      ),
      TLS: Type.Object(
        {
          CERTIFICATE: Type.Optional(
            text('File (PEM). Without it: `ssl.cert` beside the configuration file, where there is one.'),
          ),
          KEY: Type.Optional(text('File (PEM). Without it: `ssl.key` beside the configuration file.')),
        },
        { description: 'Certificate of the server.' },
      ),
      WORKER_TLS: Type.Optional(
        flag(
          'Workers on other machines speak TLS. Without it: as GRPC_PORT and GRPC_TLS_PORT say, else as PREFERRED_URL_SCHEME does.',
        ),
      ),
      TRUSTED_PROXIES: list(
        text('Address or CIDR block.', {
          pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$',
          allowed: 'an address or a CIDR block such as 10.0.0.0/8',
        }),
        'Proxies whose X-Forwarded-* headers are believed.',
      ),
      ALLOW_PRIVATE: list(
        text('Host or CIDR block.', { pattern: '^[^\\s,]+$', allowed: 'a host or a CIDR block' }),
        'Private hosts or CIDR blocks that URLs given by users may lead to.',
      ),
      DATABASE_CONNECTIONS: whole('Connections to PostgreSQL at most.', {
        default: 10,
        minimum: 2,
        maximum: 1000,
      }),
      DRAIN_TIME: duration('Running builds may go on so long when the server is stopped.', {
        default: 30,
        maximum: 86_400,
      }),
      RETRY_DELAY: duration('Wait before a failed try is repeated.', { default: 30, maximum: 86_400 }),
      HEARTBEAT_TIMEOUT: duration('A worker that was silent so long has expired.', {
        default: 60,
        minimum: 5,
        maximum: 3600,
      }),
      LEASE: duration('A claim holds so long without being extended.', {
        default: 300,
        minimum: 30,
        maximum: 3600,
      }),
      LIMITS: Type.Object(
        {
          UPLOAD: bytes('Largest source that may be uploaded.', { default: '1Gi' }),
          SOURCE: bytes('Largest source a worker unpacks.', { default: '10Gi' }),
        },
        { description: 'Limits.' },
      ),
      LOG: Type.Object(
        {
          LIMIT: bytes('Largest log of a build; the middle of a longer one is left out.', {
            default: '100Mi',
            minimum: 65_536,
          }),
          TAIL: bytes('How much of that is kept from the end.', { default: '10Mi' }),
          ARCHIVE: flag('Moves the logs of builds that ended to LOG_ARCHIVE_LOCATION.', { default: true }),
        },
        { description: 'Logs of builds.' },
      ),
      RETENTION: Type.Object(
        {
          BUILDS: durationOrNull('Builds that ended longer ago are removed with their logs.', 'kept', {
            minimum: 3600,
          }),
          LOGS: durationOrNull('Logs of builds that ended longer ago are removed.', 'kept with the build', {
            minimum: 3600,
          }),
          AUDIT: duration('Records of the audit log that are older are removed.', {
            default: '365d',
            minimum: 86_400,
          }),
        },
        { description: 'What is removed by itself.' },
      ),
    },
    { description: 'What Quay has no key for.' },
  ),
};

export interface KeyGroup {
  readonly title: string;
  readonly keys: TProperties;
}

/** The chapters of the manual. Together they are the keys of a configuration file. */
export const keyGroups: readonly KeyGroup[] = [
  { title: 'Addresses', keys: siteKeys },
  { title: 'Database and secrets', keys: databaseKeys },
  { title: 'Storage', keys: storageKeys },
  { title: 'Redis', keys: redisKeys },
  { title: 'Builds', keys: buildKeys },
  { title: 'Accounts', keys: accountKeys },
  { title: 'Slipway’s own', keys: slipwayKeys },
];

/** The one description of a configuration file: it is checked, documented and typed by this. */
export const configSchema = Type.Object({
  ...siteKeys,
  ...databaseKeys,
  ...storageKeys,
  ...redisKeys,
  ...buildKeys,
  ...accountKeys,
  ...slipwayKeys,
});

/** A configuration after it was checked: defaults filled in, times in milliseconds, sizes in bytes. */
export type CheckedConfig = Static<typeof configSchema>;
export type CheckedManager = Static<typeof managerSchema>;
export type CheckedExecutor = Static<typeof executorSchema>;
