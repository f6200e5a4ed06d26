import Type from 'typebox';
import { bytes, duration, durationOrNull, flag, list, port, text, whole } from './leaf.ts';
import { sessionSchema } from './login-schema.ts';

/** What Quay has no key for, in one block. */
export const slipwayKeys = {
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
      FORMER_DATABASE_SECRET_KEYS: list(
        text('Text as in DATABASE_SECRET_KEY.', {
          secret: true,
          allowed: 'a text of at least 16 characters',
          pattern: '^[\\s\\S]{16,}$',
        }),
        'Further keys that open secrets in the database, and seal none: those that DATABASE_SECRET_KEY was before, until `admin rotate-key` has sealed everything anew, or the one that it is about to be.',
      ),
      SESSION: sessionSchema,
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
      LEASE: duration(
        'A manager that lives but does not look after a build for so long loses it to another one; the same on all servers.',
        {
          default: 300,
          minimum: 30,
          maximum: 3600,
        },
      ),
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
