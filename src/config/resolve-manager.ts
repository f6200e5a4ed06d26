import { unreachable } from '../base/unreachable.ts';
import type {
  ExecutorCommon,
  ExecutorConfig,
  KubernetesExecutorConfig,
  LocalExecutorConfig,
  ManagerConfig,
  OrchestratorConfig,
} from './config.ts';
import type { CheckedConfig, CheckedExecutor, CheckedManager } from './schema.ts';
import { Secret } from './secret.ts';

/** Undefined: this server takes builds at most, and leaves them to others. */
export function resolveManager(config: CheckedConfig): ManagerConfig | undefined {
  if (!config.FEATURE_BUILD_SUPPORT || config.REGISTRY_STATE === 'readonly') return undefined;
  if (config.BUILD_MANAGER?.[0] === 'external') return undefined;
  const manager = config.BUILD_MANAGER?.[1];
  if (manager === undefined) return undefined;
  const { SLIPWAY: own } = config;
  const executors = (manager.EXECUTORS ?? []).map(resolveExecutor);
  return {
    orchestrator: resolveOrchestrator(manager),
    executors,
    settings: {
      allowedWorkerCount: manager.ALLOWED_WORKER_COUNT,
      jobRegistrationTimeout: manager.JOB_REGISTRATION_TIMEOUT,
      setupTime: Math.max(...executors.map(({ setupTime }) => setupTime)),
      setupTimes: Object.fromEntries(executors.map(({ name, setupTime }) => [name, setupTime])),
      heartbeatTimeout: own.HEARTBEAT_TIMEOUT,
      lease: own.LEASE,
      machineMaxTime: manager.MACHINE_MAX_TIME,
      retryDelay: own.RETRY_DELAY,
    },
    drain: own.DRAIN_TIME,
  };
}

function resolveOrchestrator(manager: CheckedManager): OrchestratorConfig {
  const { ORCHESTRATOR: given, ORCHESTRATOR_PREFIX: prefix } = manager;
  if (given === undefined || !('REDIS_HOST' in given)) return { provider: 'memory', prefix };
  const [certificate, key] = given.REDIS_CERT_AND_KEY ?? [];
  return {
    provider: 'redis',
    prefix,
    redis: {
      host: given.REDIS_HOST,
      port: given.REDIS_PORT,
      password: given.REDIS_PASSWORD === undefined ? undefined : new Secret(given.REDIS_PASSWORD),
      database: given.REDIS_DB,
      tls: given.REDIS_SSL
        ? {
            ca: given.REDIS_CA_CERT,
            certificate: certificate === undefined || key === undefined ? undefined : { certificate, key },
          }
        : undefined,
    },
    skipKeyspaceEventSetup: given.REDIS_SKIP_KEYSPACE_EVENT_SETUP,
  };
}

function resolveExecutor(executor: CheckedExecutor): ExecutorConfig {
  const common = resolveCommon(executor);
  switch (executor.EXECUTOR) {
    case 'local':
    case 'popen':
      return resolveLocal(executor, common);
    case 'kubernetes':
      return {
        ...resolveKubernetes(executor, common),
        type: 'kubernetes',
        image: executor.BUILDER_VM_CONTAINER_IMAGE,
        vmMemory: executor.VM_MEMORY_LIMIT,
      };
    case 'kubernetesPodman':
      return {
        ...resolveKubernetes(executor, common),
        type: 'kubernetesPodman',
        image: executor.BUILDER_CONTAINER_IMAGE,
        vmMemory: undefined,
      };
    case 'ec2':
      return {
        ...common,
        type: 'ec2',
        region: executor.EC2_REGION,
        endpoint: executor.EC2_ENDPOINT,
        credentials:
          executor.AWS_ACCESS_KEY === undefined || executor.AWS_SECRET_KEY === undefined
            ? undefined
            : { accessKey: executor.AWS_ACCESS_KEY, secretKey: new Secret(executor.AWS_SECRET_KEY) },
        ami: executor.COREOS_AMI,
        channel: executor.COREOS_CHANNEL,
        instanceType: executor.EC2_INSTANCE_TYPE,
        subnet: executor.EC2_VPC_SUBNET_ID,
        securityGroups: executor.EC2_SECURITY_GROUP_IDS,
        keyName: executor.EC2_KEY_NAME,
        diskSize: executor.BLOCK_DEVICE_SIZE,
      };
    default:
      return unreachable(executor);
  }
}

function resolveCommon(executor: CheckedExecutor): ExecutorCommon {
  const { QUAY_USERNAME: username, QUAY_PASSWORD: password } = executor;
  const proxies = {
    HTTP_PROXY: executor.HTTP_PROXY,
    HTTPS_PROXY: executor.HTTPS_PROXY,
    NO_PROXY: executor.NO_PROXY,
  };
  return {
    name: executor.NAME ?? executor.EXECUTOR,
    setupTime: executor.SETUP_TIME,
    rules: {
      minimumRetryThreshold: executor.MINIMUM_RETRY_THRESHOLD,
      cordoned: executor.CORDONED,
      ...(executor.NAMESPACE_WHITELIST === undefined
        ? {}
        : { namespaceWhitelist: executor.NAMESPACE_WHITELIST }),
      ...(executor.STAGED_ROLLOUT === undefined ? {} : { stagedRollout: executor.STAGED_ROLLOUT }),
      ...(executor.PLATFORMS === undefined ? {} : { platforms: executor.PLATFORMS }),
    },
    maxWorkers: executor.MAX_WORKERS,
    debug: executor.DEBUG,
    worker: {
      image: executor.WORKER_IMAGE,
      tag: executor.WORKER_TAG,
      imageCredentials:
        username === undefined || password === undefined
          ? undefined
          : { username, password: new Secret(password) },
      containerRuntime: executor.CONTAINER_RUNTIME,
      maxLifetime: executor.MAX_LIFETIME_S,
      sshAuthorizedKeys: executor.SSH_AUTHORIZED_KEYS,
      volumeSize: executor.VOLUME_SIZE,
      caCert: executor.CA_CERT,
      extraCaCerts: executor.EXTRA_CA_CERTS,
      proxies: Object.fromEntries(
        Object.entries(proxies).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
      ),
    },
  };
}

function resolveLocal(
  executor: Extract<CheckedExecutor, { EXECUTOR: 'local' | 'popen' }>,
  common: ExecutorCommon,
): LocalExecutorConfig {
  return {
    ...common,
    type: 'local',
    binary: executor.BUILDER_BINARY_LOCATION,
    buildEngine: executor.BUILD_ENGINE,
    isolation: executor.BUILDAH_ISOLATION,
  };
}

function resolveKubernetes(
  executor: Extract<CheckedExecutor, { EXECUTOR: 'kubernetes' | 'kubernetesPodman' }>,
  common: ExecutorCommon,
): Omit<KubernetesExecutorConfig, 'type' | 'image' | 'vmMemory'> {
  const { K8S_API_TLS_CERT: certificate, K8S_API_TLS_KEY: key, NODE_SELECTOR_LABEL_VALUE: label } = executor;
  return {
    ...common,
    api: {
      server: executor.K8S_API_SERVER,
      kubeconfig: executor.KUBECONFIG,
      ca: executor.K8S_API_TLS_CA,
      verifyTls: executor.VERIFY_TLS,
      timeout: executor.K8S_API_TIMEOUT,
      token:
        executor.SERVICE_ACCOUNT_TOKEN === undefined ? undefined : new Secret(executor.SERVICE_ACCOUNT_TOKEN),
      tokenFile: executor.SERVICE_ACCOUNT_TOKEN_FILE,
      certificate: certificate === undefined || key === undefined ? undefined : { certificate, key },
    },
    distribution: executor.KUBERNETES_DISTRIBUTION,
    namespace: executor.BUILDER_NAMESPACE,
    imagePullPolicy: executor.IMAGE_PULL_POLICY,
    imagePullSecret: executor.IMAGE_PULL_SECRET_NAME,
    serviceAccount: executor.SERVICE_ACCOUNT_NAME,
    dnsPolicy: executor.DNS_POLICY,
    maximumJobTime: executor.MAXIMUM_JOB_TIME,
    retentionAfterFinished: executor.RETENTION_AFTER_FINISHED,
    nodeSelector:
      label === undefined || label.trim() === ''
        ? undefined
        : { key: executor.NODE_SELECTOR_LABEL_KEY, value: label },
    memoryRequest: executor.CONTAINER_MEMORY_REQUEST,
    memoryLimit: executor.CONTAINER_MEMORY_LIMITS,
    cpuRequest: executor.CONTAINER_CPU_REQUEST,
    cpuLimit: executor.CONTAINER_CPU_LIMITS,
    runtimeClass: executor.RUNTIME_CLASS,
    priorityClass: executor.PRIORITY_CLASS,
    tolerations: executor.TOLERATIONS,
    nodeAffinity: executor.NODE_AFFINITY,
    appArmorProfile: executor.APPARMOR_PROFILE,
    hostUsers: executor.HOST_USERS,
    seccompProfile: executor.SECCOMP_PROFILE,
  };
}
