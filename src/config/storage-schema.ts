import Type, { type TObject } from 'typebox';
import { choice, flag, list, port, text } from './leaf.ts';

const storagePath = text('Path below which the engine keeps everything.', { default: '/' });

const localStorage = Type.Object({
  storage_path: text('Folder. Several managers need one that they share.'),
});

const s3Ignored = [
  'aws_session_token',
  'deferred_refresh',
  'maximum_chunk_size_gb',
  'maximum_chunk_size_mb',
  'minimum_chunk_size_mb',
  'server_side_assembly',
  'signature_version',
];

const s3Storage = Type.Object(
  {
    storage_path: storagePath,
    s3_bucket: text('Bucket.'),
    s3_access_key: Type.Optional(
      text('Access key. Without it the usual AWS chain is asked: environment, profile, instance.'),
    ),
    s3_secret_key: Type.Optional(text('Secret key.', { secret: true })),
    s3_region: Type.Optional(text('Region; without it `us-east-1`.')),
    region: Type.Optional(text('The same as `s3_region`.')),
    host: Type.Optional(
      text('Host of a service that speaks S3, without a scheme.', {
        pattern: '^[^/\\s]+$',
        allowed: 'a host name, without http:// or https://',
      }),
    ),
    port: Type.Optional(port('Port of `host`.')),
    is_secure: flag('`host` is reached by https.', { default: true }),
    endpoint_url: Type.Optional(
      text('URL of a service that speaks S3, instead of `host` and `port`.', {
        pattern: '^https?://[^/\\s]+/?$',
        allowed: 'http(s)://HOST[:PORT]',
      }),
    ),
  },
  { ignores: s3Ignored },
);

const googleStorage = Type.Object(
  {
    storage_path: storagePath,
    bucket_name: text('Bucket.'),
    access_key: text('Access key of the interoperability interface.'),
    secret_key: text('Secret key of the interoperability interface.', { secret: true }),
  },
  { ignores: ['boto_timeout', ...s3Ignored] },
);

const radosStorage = Type.Object(
  {
    storage_path: storagePath,
    hostname: text('Host of the gateway.', {
      pattern: '^[^/\\s]+$',
      allowed: 'a host name, without http:// or https://',
    }),
    port: Type.Optional(port('Port of the gateway.')),
    is_secure: flag('The gateway is reached by https.', { default: true }),
    bucket_name: text('Bucket.'),
    access_key: text('Access key.'),
    secret_key: text('Secret key.', { secret: true }),
  },
  { ignores: s3Ignored },
);

function engine<const Name extends string, Settings extends TObject>(name: Name, settings: Settings) {
  return Type.Tuple([Type.Literal(name), settings], { variant: name });
}

export const storageEngineSchema = Type.Union(
  [
    engine('LocalStorage', localStorage),
    engine('S3Storage', s3Storage),
    engine('GoogleCloudStorage', googleStorage),
    engine('RadosGWStorage', radosStorage),
    engine('RHOCSStorage', radosStorage),
    engine('IBMCloudStorage', radosStorage),
  ],
  { chosenBy: 'first', allowed: 'a list of two: the type of the engine, and its settings' },
);

export const storageKeys = {
  DISTRIBUTED_STORAGE_CONFIG: Type.Optional(
    Type.Record(Type.String(), storageEngineSchema, {
      description:
        'Where images, uploads and archived logs are kept: names of your choice, each with a list of an engine’s type and its settings. Without it: a folder in the data folder.',
    }),
  ),
  DISTRIBUTED_STORAGE_PREFERENCE: list(
    text('Name of an engine.'),
    'Names of engines. Images go to the first; without it, to the first of DISTRIBUTED_STORAGE_CONFIG.',
  ),
  USERFILES_LOCATION: Type.Optional(
    text('Engine that keeps uploaded sources. Without it, the one that keeps the images.'),
  ),
  USERFILES_PATH: text('Path of uploaded sources in their engine.', { default: 'userfiles/' }),
  LOG_ARCHIVE_LOCATION: Type.Optional(
    text('Engine that keeps the logs of builds that ended. Without it, the one that keeps the images.'),
  ),
  LOG_ARCHIVE_PATH: text('Path of archived logs in their engine.', { default: 'logarchive/' }),
  REGISTRY_STATE: choice(
    ['normal', 'readonly'],
    'In `readonly` nothing is built and no image is written; images, builds and logs can be read.',
    { default: 'normal' },
  ),
};
