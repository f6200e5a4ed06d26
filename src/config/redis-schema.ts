import Type from 'typebox';
import { flag, list, port, text, whole } from './leaf.ts';

/** BUILDLOGS_REDIS and USER_EVENTS_REDIS. */
export function redisSchema(description: string) {
  return Type.Object(
    {
      host: text('Host name or address.'),
      port: port('Port.', { default: 6379 }),
      password: Type.Optional(text('Password.', { secret: true })),
      db: whole('Number of the database.', { default: 0, maximum: 1_000_000 }),
      ssl: flag('Speaks TLS.', { default: false }),
      ssl_ca_certs: Type.Optional(text('File (PEM) of the authority that signed the certificate of Redis.')),
      ssl_certfile: Type.Optional(text('File (PEM) of the certificate to show to Redis.')),
      ssl_keyfile: Type.Optional(text('File (PEM) of the key of `ssl_certfile`.')),
    },
    { description, effect: 'none', ignores: ['local_namespace', 'ssl_cert_reqs', 'ssl_check_hostname'] },
  );
}

export const redisOrchestratorSchema = Type.Object(
  {
    REDIS_HOST: text('Host name or address.', { default: '127.0.0.1' }),
    REDIS_PORT: port('Port.', { default: 6379 }),
    REDIS_PASSWORD: Type.Optional(text('Password.', { secret: true })),
    REDIS_DB: whole('Number of the database.', { default: 0, maximum: 1_000_000 }),
    REDIS_SSL: flag('Speaks TLS.', { default: false }),
    REDIS_CA_CERT: Type.Optional(text('File (PEM) of the authority that signed the certificate of Redis.')),
    REDIS_CERT_AND_KEY: Type.Optional(
      list(text('File (PEM).'), 'Two files (PEM): the certificate to show to Redis, and its key.'),
    ),
    REDIS_SKIP_KEYSPACE_EVENT_SETUP: flag(
      'Does not set `notify-keyspace-events`; somebody else has to have added the flags `Kx`.',
      { default: false },
    ),
  },
  { description: 'Redis.', variant: 'REDIS' },
);

export const memoryOrchestratorSchema = Type.Object(
  {},
  { description: 'In the memory of this process, for a single manager.', variant: 'MEM', open: 'MEM_' },
);
