import type { Secret } from './secret.ts';

/**
 * What a server is told: the configuration file, the environment over it, and the defaults below both, checked and
 * resolved. Times are milliseconds, sizes bytes, paths as they were given. Deeply frozen. `parseConfig` makes it.
 */
export interface Config {
  readonly site: SiteConfig;
  readonly listen: ListenConfig;
  /** How workers reach the manager. */
  readonly workers: WorkerAddress;
  /** Folder of this manager's own files: keys, sockets, workers, the registry's state. */
  readonly dataFolder: string;
  readonly database: DatabaseConfig;
  readonly storage: StorageConfig;
  readonly features: FeatureConfig;
  /** Undefined: this server does not build (`BUILD_MANAGER` is absent or `[external, …]`, or builds are switched off). */
  readonly manager: ManagerConfig | undefined;
  readonly logins: LoginConfig;
  readonly limits: LimitConfig;
  readonly triggers: TriggerConfig;
  readonly retention: RetentionConfig;
  /** Names of users that are superusers whatever the database says; empty without FEATURE_SUPER_USERS. */
  readonly superUsers: readonly string[];
  readonly secrets: SecretConfig;
}

export interface SiteConfig {
  /** SERVER_HOSTNAME: `host[:port]` as in image names. */
  readonly hostname: string;
  /** `http(s)://host[:port]` clients know the server by, without a slash at the end. */
  readonly url: string;
  /** PREFERRED_URL_SCHEME */
  readonly scheme: 'http' | 'https';
  /** EXTERNAL_TLS_TERMINATION: something in front of Slipway speaks TLS, and Slipway itself clear text. */
  readonly externalTls: boolean;
  /** Addresses and CIDR blocks of proxies whose X-Forwarded-* headers count. */
  readonly trustedProxies: readonly string[];
  /** Private hosts and CIDR blocks that URLs given by users may lead to. */
  readonly allowPrivate: readonly string[];
}

export interface LoginConfig {
  /** FEATURE_DIRECT_LOGIN: browsers may sign in by password. */
  readonly direct: boolean;
  /** FEATURE_USER_CREATION: who comes from a login service for the first time becomes a user. */
  readonly createUsers: boolean;
  readonly session: { readonly idle: number; readonly lifetime: number };
  readonly services: readonly LoginServiceConfig[];
}

export type LoginServiceConfig =
  | {
      readonly type: 'oidc';
      /** In the path of its callback. */
      readonly id: string;
      /** For people. */
      readonly name: string;
      readonly server: string;
      /** Undefined: `server`. */
      readonly issuer: string | undefined;
      readonly clientId: string;
      readonly clientSecret: Secret;
      readonly scopes: readonly string[] | undefined;
      readonly usernameClaim: string | undefined;
      readonly emailClaim: string | undefined;
      readonly userEndpoint: boolean;
      /** By the endpoint's name in the provider's description. */
      readonly endpointParameters: Readonly<Record<string, Readonly<Record<string, string>>>>;
      /** The provider may be spoken to by http. */
      readonly insecure: boolean;
    }
  | {
      readonly type: 'github';
      /** Without a slash at the end, as `apiEndpoint`. */
      readonly endpoint: string;
      readonly apiEndpoint: string;
      readonly clientId: string;
      readonly clientSecret: Secret;
      /** Organizations in lower case; undefined: everybody. */
      readonly allowed: readonly string[] | undefined;
    }
  | {
      readonly type: 'gitlab';
      readonly endpoint: string;
      readonly clientId: string;
      readonly clientSecret: Secret;
      /** Paths of groups in lower case; undefined: everybody. */
      readonly allowed: readonly string[] | undefined;
    };

export interface ListenConfig {
  readonly address: string;
  /** REST, registry and gRPC; 0: a free one. */
  readonly port: number;
  /** Clear-text gRPC on a port of its own; undefined: none. */
  readonly grpcPort: number | undefined;
  /** gRPC by TLS on a port of its own; undefined: none. */
  readonly grpcTlsPort: number | undefined;
  /** Whether `port` speaks TLS: the scheme is https, and nothing in front of Slipway speaks it instead. */
  readonly portTls: boolean;
  /** Files (PEM). */
  readonly tls: { readonly certificate: string; readonly key: string } | undefined;
}

export interface WorkerAddress {
  /** `host:port`; undefined: there are local workers only, which use this server's own port. */
  readonly server: string | undefined;
  readonly tls: boolean;
  /** BUILDMAN_HOSTNAME, or SERVER_HOSTNAME, without the port: the audience of workers' tokens. */
  readonly audience: string;
}

export type DatabaseConfig =
  | { readonly provider: 'sqlite'; readonly file: string }
  | {
      readonly provider: 'postgres';
      /** `postgresql://user:password@host:port/database?…`, with the TLS settings of DB_CONNECTION_ARGS. */
      readonly url: Secret;
      /** Connections at most. */
      readonly connections: number;
    };

export type StorageEngine =
  | { readonly provider: 'folder'; readonly folder: string }
  | {
      readonly provider: 's3';
      readonly service: 's3' | 'gcs' | 'radosgw';
      readonly bucket: string;
      /** Below which the engine keeps everything; without slashes at the ends, may be empty. */
      readonly prefix: string;
      /** `http(s)://host[:port]`; undefined: AWS finds it by the region. */
      readonly endpoint: string | undefined;
      readonly region: string;
      /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
      readonly pathStyle: boolean;
      /** Undefined: the usual AWS chain (environment, profile, instance). */
      readonly credentials: { readonly accessKey: string; readonly secretKey: Secret } | undefined;
    };

/** A path in one of the engines. */
export interface StoragePlace {
  /** Name in DISTRIBUTED_STORAGE_CONFIG. */
  readonly name: string;
  readonly engine: StorageEngine;
  /** Without slashes at the ends, may be empty. */
  readonly path: string;
}

export interface StorageConfig {
  readonly images: StoragePlace;
  /** USERFILES_LOCATION, USERFILES_PATH */
  readonly uploads: StoragePlace;
  /** LOG_ARCHIVE_LOCATION, LOG_ARCHIVE_PATH: where archived logs are read. */
  readonly logArchive: StoragePlace;
  /** False: logs stay in the database from now on. */
  readonly archiveLogs: boolean;
}

export interface RedisConfig {
  readonly host: string;
  readonly port: number;
  readonly password: Secret | undefined;
  readonly database: number;
  /** Undefined: clear text. Paths of PEM files. */
  readonly tls:
    | {
        readonly ca: string | undefined;
        readonly certificate: { readonly certificate: string; readonly key: string } | undefined;
      }
    | undefined;
}

export interface FeatureConfig {
  /** FEATURE_BUILD_SUPPORT */
  readonly build: boolean;
  /** REGISTRY_STATE is `readonly`: images and builds can be read, and nothing is written. */
  readonly readOnly: boolean;
  /** FEATURE_READER_BUILD_LOGS */
  readonly readerBuildLogs: boolean;
  /** FEATURE_SUPER_USERS */
  readonly superUsers: boolean;
}

export type OrchestratorConfig =
  | { readonly provider: 'memory'; readonly prefix: string }
  | {
      readonly provider: 'redis';
      /** ORCHESTRATOR_PREFIX: in front of all keys. */
      readonly prefix: string;
      readonly redis: RedisConfig;
      /** REDIS_SKIP_KEYSPACE_EVENT_SETUP */
      readonly skipKeyspaceEventSetup: boolean;
    };

/** The fields that ManagerSettings has too have its names, so that one can be spread over the other. */
export interface ManagerConfig {
  readonly orchestrator: OrchestratorConfig;
  /** In the order in which they are asked; at least one. */
  readonly executors: readonly ExecutorConfig[];
  readonly settings: {
    readonly allowedWorkerCount: number;
    readonly jobRegistrationTimeout: number;
    /** The longest of all executors. */
    readonly setupTime: number;
    /** Of each executor, by its name. */
    readonly setupTimes: Readonly<Record<string, number>>;
    readonly heartbeatTimeout: number;
    readonly lease: number;
    readonly machineMaxTime: number;
    readonly retryDelay: number;
  };
  /** Milliseconds running builds may go on when the server is stopped. */
  readonly drain: number;
}

export interface ExecutorCommon {
  readonly name: string;
  /** SETUP_TIME */
  readonly setupTime: number;
  readonly rules: {
    readonly minimumRetryThreshold: number;
    readonly namespaceWhitelist?: readonly string[];
    readonly stagedRollout?: number;
    readonly cordoned: boolean;
    /** Such as `linux/amd64`. Absent: all. */
    readonly platforms?: readonly string[];
  };
  /** Workers it runs at once; undefined: only ALLOWED_WORKER_COUNT counts. */
  readonly maxWorkers: number | undefined;
  /** Workers are kept after their build. */
  readonly debug: boolean;
  /** What it gives every worker it starts. */
  readonly worker: {
    readonly image: string;
    readonly tag: string;
    /** For the registry of the worker's image. */
    readonly imageCredentials: { readonly username: string; readonly password: Secret } | undefined;
    readonly containerRuntime: 'docker' | 'podman';
    readonly maxLifetime: number;
    readonly sshAuthorizedKeys: readonly string[];
    readonly volumeSize: string;
    /** PEM text. */
    readonly caCert: string | undefined;
    readonly extraCaCerts: readonly string[];
    readonly proxies: Readonly<Record<string, string>>;
  };
}

export interface LocalExecutorConfig extends ExecutorCommon {
  readonly type: 'local';
  /** BUILDER_BINARY_LOCATION: runs this instead of Slipway's own worker. */
  readonly binary: string | undefined;
  readonly buildEngine: 'auto' | 'buildah' | 'buildkit' | 'docker' | 'podman' | 'dummy';
  readonly isolation: 'chroot' | 'rootless' | 'oci' | undefined;
}

export interface KubernetesExecutorConfig extends ExecutorCommon {
  /** `kubernetes`: a virtual machine in a pod. `kubernetesPodman`: a rootless pod. */
  readonly type: 'kubernetes' | 'kubernetesPodman';
  readonly api: {
    /** Undefined: the cluster that Slipway itself runs in, or the kubeconfig. */
    readonly server: string | undefined;
    readonly kubeconfig: string | undefined;
    readonly ca: string | undefined;
    readonly verifyTls: boolean;
    readonly timeout: number;
    readonly token: Secret | undefined;
    /** Read again when it changes. */
    readonly tokenFile: string | undefined;
    readonly certificate: { readonly certificate: string; readonly key: string } | undefined;
  };
  readonly distribution: 'openshift' | 'k8s' | 'basic';
  readonly namespace: string;
  /** BUILDER_VM_CONTAINER_IMAGE or BUILDER_CONTAINER_IMAGE. */
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly imagePullSecret: string;
  readonly serviceAccount: string;
  readonly dnsPolicy: string;
  readonly maximumJobTime: number;
  readonly retentionAfterFinished: number;
  readonly nodeSelector: { readonly key: string; readonly value: string } | undefined;
  /** `kubernetes` only. */
  readonly vmMemory: string | undefined;
  readonly memoryRequest: string;
  readonly memoryLimit: string;
  readonly cpuRequest: string;
  readonly cpuLimit: string;
  readonly runtimeClass: string | undefined;
  readonly priorityClass: string | undefined;
  /** See model/node-placement.ts. */
  readonly tolerations: readonly string[];
  readonly nodeAffinity: readonly string[];
  /** Of rootless pods; undefined: what goes with the seccomp profile. */
  readonly appArmorProfile: string | undefined;
  /** False: pods have a user namespace of their own. */
  readonly hostUsers: boolean;
  /** Of rootless pods; undefined: what rootless building needs. */
  readonly seccompProfile: string | undefined;
}

export interface Ec2ExecutorConfig extends ExecutorCommon {
  readonly type: 'ec2';
  readonly region: string;
  readonly endpoint: string | undefined;
  /** Undefined: the usual AWS chain. */
  readonly credentials: { readonly accessKey: string; readonly secretKey: Secret } | undefined;
  /** Undefined: looked up in the channel. */
  readonly ami: string | undefined;
  readonly channel: string;
  readonly instanceType: string;
  readonly subnet: string | undefined;
  readonly securityGroups: readonly string[];
  readonly keyName: string | undefined;
  /** GiB */
  readonly diskSize: number;
}

export type ExecutorConfig = LocalExecutorConfig | KubernetesExecutorConfig | Ec2ExecutorConfig;

export interface LimitConfig {
  /** DEFAULT_NAMESPACE_MAXIMUM_BUILD_COUNT: builds of one namespace that may wait; undefined: any number. */
  readonly queuedPerNamespace: number | undefined;
  /** Bytes of an uploaded source. */
  readonly upload: number;
  /** Bytes of a source a worker unpacks. */
  readonly source: number;
  /** Bytes of a build's log, after which its middle is left out; and how many of them are its end. */
  readonly log: number;
  readonly logTail: number;
}

/** Where a git host is, and what this server is registered as there. Absent parts are the host's own public ones. */
export interface GitHostConfig {
  readonly site: string | undefined;
  readonly api: string | undefined;
  readonly oauth: { readonly id: string; readonly secret: Secret } | undefined;
}

export interface TriggerConfig {
  /** Each undefined one is switched off. */
  readonly hosts: Readonly<Record<'github' | 'gitlab' | 'bitbucket', GitHostConfig | undefined>>;
  /** SUCCESSIVE_TRIGGER_FAILURE_DISABLE_THRESHOLD; undefined: never disabled. */
  readonly failureThreshold: number | undefined;
  /** SUCCESSIVE_TRIGGER_INTERNAL_ERROR_DISABLE_THRESHOLD; undefined: never disabled. */
  readonly internalErrorThreshold: number | undefined;
}

export interface RetentionConfig {
  /** Builds that ended longer ago are removed with their logs; undefined: kept. */
  readonly builds: number | undefined;
  /** Logs of builds that ended longer ago are removed; undefined: kept as long as the build. */
  readonly logs: number | undefined;
  /** Records of the audit log older than this are removed. */
  readonly audit: number;
}

export interface SecretConfig {
  /** 32 bytes made of DATABASE_SECRET_KEY: what seals secrets in the database. Undefined: this server's key file. */
  readonly database: Secret<Uint8Array> | undefined;
  /** Made of FORMER_DATABASE_SECRET_KEYS as `database` is: what opens secrets too, and seals none. */
  readonly formerDatabase: readonly Secret<Uint8Array>[];
  /** SECRET_KEY */
  readonly session: Secret | undefined;
}
