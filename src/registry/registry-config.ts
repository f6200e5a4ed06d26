import { stringify } from 'yaml';

/** What the registry process has to be told. Paths are absolute. */
export interface RegistryConfig {
  readonly storageFolder: string;
  readonly socketPath: string;
  /** PEM of the certificate that token signatures are traced to. */
  readonly certificateFile: string;
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** Signs the state of uploads in progress; stays the same, so that they survive a restart. */
  readonly httpSecret: string;
}

/** The text of a configuration file of docker-registry 2.8. */
export function formatRegistryConfig(config: RegistryConfig): string {
  return stringify({
    version: 0.1,
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: config.storageFolder },
      delete: { enabled: true },
      cache: { blobdescriptor: 'inmemory' },
      maintenance: { uploadpurging: { enabled: true, age: '24h', interval: '6h', dryrun: false } },
    },
    http: {
      net: 'unix',
      addr: config.socketPath,
      secret: config.httpSecret,
      relativeurls: true,
      draintimeout: '10s',
    },
    auth: {
      token: {
        realm: config.realm,
        service: config.service,
        issuer: config.issuer,
        rootcertbundle: config.certificateFile,
      },
    },
    health: { storagedriver: { enabled: true, interval: '10s', threshold: 3 } },
    // Layers that live elsewhere (base images of Windows) may be referred to; the registry never fetches them.
    validation: { manifests: { urls: { allow: ['^https://'] } } },
  });
}
