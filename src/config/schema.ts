import Type, { type Static, type TProperties } from 'typebox';
import { executorSchema } from './executor-schema.ts';
import { bytes, choice, duration, flag, list, text, whole, wholeOrNull } from './leaf.ts';
import { loginKeys } from './login-schema.ts';
import { memoryOrchestratorSchema, redisOrchestratorSchema, redisSchema } from './redis-schema.ts';
import { slipwayKeys } from './slipway-schema.ts';
import { storageKeys } from './storage-schema.ts';
import { triggerKeys } from './trigger-schema.ts';

const label = '[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?';
const hostPattern = `^(${label}(\\.${label})*|\\[[0-9A-Fa-f:]+\\])(:[0-9]{1,5})?$`;

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
      'Seals secrets in the database; all managers have the same. 64 hexadecimal digits are the key itself; any other text is stretched to one. Needed with PostgreSQL. To change it, see operations.md.',
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
    { minimum: 1, default: 100 },
  ),
  SUCCESSIVE_TRIGGER_INTERNAL_ERROR_DISABLE_THRESHOLD: wholeOrNull(
    'A trigger is switched off after so many internal errors in a row.',
    'never',
    { minimum: 1, default: 5 },
  ),
  MAXIMUM_LAYER_SIZE: bytes('Largest layer of an image.', { default: '20G', effect: 'none' }),
};

const accountKeys = {
  SUPER_USERS: list(text('Name of a user.'), 'Users that may do everything.'),
  FEATURE_SUPER_USERS: flag('There are superusers at all.', { default: true }),
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
  { title: 'Build triggers', keys: triggerKeys },
  { title: 'Accounts', keys: accountKeys },
  { title: 'Signing in with a browser', keys: loginKeys },
  { title: 'Slipway’s own', keys: slipwayKeys },
];

/** The one description of a configuration file: it is checked, documented and typed by this. */
export const configSchema = Type.Object({
  ...siteKeys,
  ...databaseKeys,
  ...storageKeys,
  ...redisKeys,
  ...buildKeys,
  ...triggerKeys,
  ...accountKeys,
  ...loginKeys,
  ...slipwayKeys,
});

/** A configuration after it was checked: defaults filled in, times in milliseconds, sizes in bytes. */
export type CheckedConfig = Static<typeof configSchema>;
export type CheckedManager = Static<typeof managerSchema>;
export type CheckedExecutor = Static<typeof executorSchema>;
