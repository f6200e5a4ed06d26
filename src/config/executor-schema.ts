import Type from 'typebox';
import { requirementPattern, tolerationPattern } from '../model/node-placement.ts';
import { choice, duration, flag, list, share, text, whole } from './leaf.ts';

const quantityPattern = '^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$';

function quantity(description: string, given: string) {
  return text(description, {
    pattern: quantityPattern,
    allowed: 'a quantity of Kubernetes, such as 500m, 4G or 3968Mi',
    default: given,
  });
}

const common = {
  NAME: Type.Optional(text('Unique name. Without it, the type.')),
  SETUP_TIME: duration('A started worker registers in this time.', { default: 500, minimum: 1 }),
  MINIMUM_RETRY_THRESHOLD: whole('Takes a build only while it has at least so many tries left.', {
    default: 0,
  }),
  NAMESPACE_WHITELIST: Type.Optional(
    list(text('Namespace.'), 'Namespaces it builds for, beside those of STAGED_ROLLOUT.'),
  ),
  STAGED_ROLLOUT: Type.Optional(share('The share of namespaces it builds for.')),
  MAX_WORKERS: Type.Optional(
    whole('Workers it runs at once, within ALLOWED_WORKER_COUNT.', { minimum: 1, maximum: 100_000 }),
  ),
  CORDONED: flag('Takes no further builds; what runs goes on.', { default: false }),
  PLATFORMS: Type.Optional(
    list(
      text('Platform.', {
        pattern: '^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$',
        allowed: 'a platform such as linux/amd64 or linux/arm64/v8',
      }),
      'Platforms it builds for. Without it, all.',
    ),
  ),
  DEBUG: flag(
    'Keeps workers on Kubernetes and EC2 after their build, to look into them; they still count. Local workers end all the same.',
    { default: false },
  ),
  WORKER_IMAGE: text('Image of the worker.', { default: 'slipway/worker' }),
  WORKER_TAG: text('Tag of the worker’s image.', { default: 'latest' }),
  QUAY_USERNAME: Type.Optional(text('User for the registry of the worker’s image.')),
  QUAY_PASSWORD: Type.Optional(text('Password for the registry of the worker’s image.', { secret: true })),
  CONTAINER_RUNTIME: choice(['docker', 'podman'], 'What runs the worker and its engine.', {
    default: 'docker',
  }),
  SSH_AUTHORIZED_KEYS: list(text('Key.'), 'Public keys that may log in to a virtual machine.'),
  VOLUME_SIZE: quantity('Disk of a virtual machine.', '32G'),
  MAX_LIFETIME_S: duration('A virtual machine powers off after this time, whatever it does.', {
    default: 10_800,
    minimum: 60,
  }),
  CA_CERT: Type.Optional(text('Certificate (PEM text) that workers trust for the manager and the registry.')),
  EXTRA_CA_CERTS: list(text('Certificate.'), 'Further certificates (PEM text) that workers trust.'),
  HTTP_PROXY: Type.Optional(text('Proxy of workers for http.', { secret: 'url' })),
  HTTPS_PROXY: Type.Optional(text('Proxy of workers for https.', { secret: 'url' })),
  NO_PROXY: Type.Optional(text('Hosts that workers reach without a proxy, joined by commas.')),
};

const local = {
  BUILDER_BINARY_LOCATION: Type.Optional(
    text('Runs this program as worker instead of Slipway’s own.', {
      pattern: '^/',
      allowed: 'an absolute path',
    }),
  ),
  BUILD_ENGINE: choice(
    ['auto', 'buildah', 'buildkit', 'docker', 'podman', 'dummy'],
    'What the worker builds with.',
    { default: 'auto' },
  ),
  BUILDAH_ISOLATION: Type.Optional(
    choice(['chroot', 'rootless', 'oci'], 'How buildah isolates the commands of a build.'),
  ),
};

const kubernetes = {
  K8S_API_SERVER: Type.Optional(
    text('Kubernetes API, `host:port`. Without it: KUBECONFIG, or the cluster that Slipway runs in.', {
      pattern: '^(https?://)?[^/\\s]+$',
      allowed: 'HOST:PORT',
    }),
  ),
  KUBECONFIG: Type.Optional(text('File that says how to reach the Kubernetes API.')),
  SERVICE_ACCOUNT_TOKEN: Type.Optional(text('Bearer token for the Kubernetes API.', { secret: true })),
  SERVICE_ACCOUNT_TOKEN_FILE: Type.Optional(text('File with the bearer token; read again when it changes.')),
  K8S_API_TLS_CERT: Type.Optional(text('File (PEM) of the client certificate for the Kubernetes API.')),
  K8S_API_TLS_KEY: Type.Optional(text('File (PEM) of the key of K8S_API_TLS_CERT.')),
  K8S_API_TLS_CA: Type.Optional(
    text('File (PEM) of the authority that signed the certificate of the Kubernetes API.'),
  ),
  VERIFY_TLS: flag('Checks the certificate of the Kubernetes API.', { default: true }),
  K8S_API_TIMEOUT: duration('Time for one call of the Kubernetes API.', {
    default: 20,
    minimum: 1,
    maximum: 600,
  }),
  KUBERNETES_DISTRIBUTION: choice(['basic', 'k8s', 'openshift'], 'Kind of cluster.', { default: 'basic' }),
  BUILDER_NAMESPACE: text('Namespace of the jobs.', { default: 'builder' }),
  IMAGE_PULL_POLICY: choice(['Always', 'IfNotPresent', 'Never'], 'When the image is pulled.', {
    default: 'Always',
  }),
  IMAGE_PULL_SECRET_NAME: text('Secret for pulling the image.', { default: 'builder' }),
  SERVICE_ACCOUNT_NAME: text('Service account of the pods on OpenShift.', { default: 'quay-builder-sa' }),
  DNS_POLICY: choice(['Default', 'ClusterFirst', 'ClusterFirstWithHostNet', 'None'], 'DNS of the pods.', {
    default: 'Default',
  }),
  MAXIMUM_JOB_TIME: duration('Kubernetes ends a job after this time.', { default: 7200, minimum: 60 }),
  RETENTION_AFTER_FINISHED: duration('Kubernetes removes a finished job after this time.', { default: 120 }),
  NODE_SELECTOR_LABEL_KEY: text('Label of the nodes that build.', {
    default: 'beta.kubernetes.io/instance-type',
  }),
  NODE_SELECTOR_LABEL_VALUE: Type.Optional(text('Value of that label. Without it every node may build.')),
  CONTAINER_MEMORY_REQUEST: quantity('Memory a pod asks for.', '3968Mi'),
  CONTAINER_MEMORY_LIMITS: quantity('Memory a pod may use.', '5120Mi'),
  CONTAINER_CPU_REQUEST: quantity('Processor time a pod asks for.', '500m'),
  CONTAINER_CPU_LIMITS: quantity('Processor time a pod may use.', '1000m'),
  RUNTIME_CLASS: Type.Optional(text('Runtime class of the pods, such as kata or gvisor.')),
  PRIORITY_CLASS: Type.Optional(text('Priority class of the pods.')),
  TOLERATIONS: list(
    text('Taint.', {
      pattern: tolerationPattern,
      allowed: 'a taint such as dedicated=builds:NoSchedule, spot:NoExecute or spot',
    }),
    'Taints of nodes that the pods tolerate: `KEY=VALUE:EFFECT`, without a value any of the key, without an effect all.',
  ),
  NODE_AFFINITY: list(
    text('Requirement.', {
      pattern: requirementPattern,
      allowed: 'a requirement such as disktype in (ssd,nvme), zone notin (a), builds or !gpu',
    }),
    'What the labels of a node must fulfil, all of it, beside NODE_SELECTOR_LABEL_VALUE.',
  ),
  APPARMOR_PROFILE: Type.Optional(
    text(
      'AppArmor profile of rootless pods: `RuntimeDefault`, `Unconfined`, or the name of a profile on the nodes. Without it, what goes with SECCOMP_PROFILE.',
      { pattern: '^[A-Za-z0-9][^\\s]*$', allowed: 'RuntimeDefault, Unconfined or the name of a profile' },
    ),
  ),
  HOST_USERS: flag('False gives each pod a user namespace of its own, where the cluster can do that.', {
    default: true,
  }),
  SECCOMP_PROFILE: Type.Optional(
    text(
      'Seccomp profile of rootless pods: `RuntimeDefault`, `Unconfined`, or the path of a profile on the nodes. Without it, `Unconfined`, which rootless building needs with most profiles; with RUNTIME_CLASS, `RuntimeDefault`.',
    ),
  ),
};

const ec2 = {
  EC2_REGION: text('Region.'),
  EC2_INSTANCE_TYPE: text('Type of the instances, such as `t3.large`.'),
  EC2_ENDPOINT: Type.Optional(
    text('URL of a cloud that speaks EC2.', { pattern: '^https?://[^\\s]+$', allowed: 'a URL' }),
  ),
  AWS_ACCESS_KEY: Type.Optional(
    text('Access key. Without it the usual AWS chain is asked: environment, profile, instance.'),
  ),
  AWS_SECRET_KEY: Type.Optional(text('Secret key.', { secret: true })),
  COREOS_AMI: Type.Optional(text('Image of the instances. Without it, the newest of COREOS_CHANNEL.')),
  COREOS_CHANNEL: choice(['stable', 'testing', 'next'], 'Stream of Fedora CoreOS.', { default: 'stable' }),
  EC2_VPC_SUBNET_ID: Type.Optional(text('Subnet; instances in it get a public address.')),
  EC2_SECURITY_GROUP_IDS: list(text('Group.'), 'Security groups of the instances.'),
  EC2_KEY_NAME: Type.Optional(text('Key pair of the instances.')),
  BLOCK_DEVICE_SIZE: whole('Disk of an instance, in GiB.', { default: 48, minimum: 8, maximum: 16_384 }),
};

const podImage = text('Image of the pod.', { default: 'slipway/worker:latest' });
const vmImage = text('Image that runs a virtual machine.', { default: 'slipway/builder-vm:latest' });

/** Keys of one form of Kubernetes executor that mean nothing to the other; one file has both often. */
const vmOnly = ['BUILDER_VM_CONTAINER_IMAGE', 'VM_MEMORY_LIMIT'];
const podOnly = ['BUILDER_CONTAINER_IMAGE'];

export const executorSchema = Type.Union(
  [
    Type.Object(
      { EXECUTOR: Type.Literal('local'), ...common, ...local },
      { variant: 'local', description: 'Processes on this machine.' },
    ),
    Type.Object(
      { EXECUTOR: Type.Literal('popen'), ...common, ...local },
      { variant: 'popen', description: 'The same as `local`, by the name Quay has for it.' },
    ),
    Type.Object(
      {
        EXECUTOR: Type.Literal('kubernetes'),
        ...common,
        ...kubernetes,
        BUILDER_VM_CONTAINER_IMAGE: vmImage,
        VM_MEMORY_LIMIT: quantity('Memory of the virtual machine.', '4G'),
      },
      { variant: 'kubernetes', description: 'A virtual machine in a pod.', ignores: podOnly },
    ),
    Type.Object(
      {
        EXECUTOR: Type.Literal('kubernetesPodman'),
        ...common,
        ...kubernetes,
        CONTAINER_RUNTIME: choice(['docker', 'podman'], 'What the worker builds with.', {
          default: 'podman',
        }),
        BUILDER_CONTAINER_IMAGE: podImage,
      },
      { variant: 'kubernetesPodman', description: 'A rootless, unprivileged pod.', ignores: vmOnly },
    ),
    Type.Object(
      { EXECUTOR: Type.Literal('ec2'), ...common, ...ec2 },
      { variant: 'ec2', description: 'An EC2 instance for each build.' },
    ),
  ],
  { chosenBy: 'EXECUTOR', allowed: 'a mapping with the key EXECUTOR' },
);
