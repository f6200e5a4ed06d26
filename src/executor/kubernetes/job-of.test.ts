import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAttemptId, parseBuildId } from '../../model/ids.ts';
import type { WorkerOrder } from '../executor.ts';
import { type JobObjects, jobObjectsOf } from './job-of.ts';
import type { KubernetesSettings } from './settings.ts';

const buildId = parseBuildId('11111111-2222-4333-8444-555555555555') ?? never();
const attemptId = parseAttemptId('aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee') ?? never();
const name = '11111111-2222-4333-8444-555555555555-aaaaaaaabbbb';
const maker = { manager: 'builds-7f9', version: '0.1.0', site: 'builds.example.com' };
const now = Date.UTC(2026, 10, 30, 17, 58);
const labels = {
  build: '11111111-2222-4333-8444-555555555555',
  time: '2026-11-30-17',
  manager: 'builds-7f9',
  'quay-sha': '0.1.0',
  'slipway-attempt': 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee',
  'slipway-executor': '164cf1ca8391532e',
  'slipway-site': '0f9679c4be3f9563',
};

const order: WorkerOrder = {
  buildId,
  attemptId,
  epoch: 1,
  namespace: 'team',
  platform: 'linux/amd64',
  triesLeft: 2,
  token: 'the-token',
  server: 'builds.example.com:55443',
  serverTls: true,
  registryHost: 'builds.example.com',
  maxLifetime: 7_200_000,
};

const machine: KubernetesSettings = {
  type: 'kubernetes',
  name: 'cluster',
  distribution: 'k8s',
  namespace: 'builder',
  image: 'slipway/builder-vm:latest',
  imagePullPolicy: 'Always',
  imagePullSecret: 'builder',
  serviceAccount: 'quay-builder-sa',
  dnsPolicy: 'Default',
  maximumJobTime: 7_200_000,
  retentionAfterFinished: 120_000,
  nodeSelector: undefined,
  memoryRequest: '3968Mi',
  memoryLimit: '5120Mi',
  cpuRequest: '500m',
  cpuLimit: '1000m',
  runtimeClass: undefined,
  priorityClass: undefined,
  tolerations: [],
  nodeAffinity: [],
  appArmorProfile: undefined,
  hostUsers: true,
  seccompProfile: undefined,
  vmMemory: '4G',
  volumeSize: '32G',
  authorities: [],
  proxies: {},
  containerRuntime: 'podman',
  debug: false,
  setupTime: 500_000,
};

const pod: KubernetesSettings = {
  ...machine,
  type: 'kubernetesPodman',
  image: 'slipway/worker:latest',
  vmMemory: undefined,
};

const userData = ({ token }: WorkerOrder) => `{"ignition":{},"token":"${token}"}`;

function objectsOf(settings: KubernetesSettings, its: Partial<WorkerOrder> = {}): JobObjects {
  return jobObjectsOf({ ...order, ...its }, settings, maker, { userData, now });
}

const resources = {
  requests: { memory: '3968Mi', cpu: '500m' },
  limits: { memory: '5120Mi', cpu: '1000m' },
};

const everyPod = {
  imagePullSecrets: [{ name: 'builder' }],
  restartPolicy: 'Never',
  dnsPolicy: 'Default',
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  terminationGracePeriodSeconds: 10,
};

const machineContainer = {
  name: 'builder',
  image: 'slipway/builder-vm:latest',
  imagePullPolicy: 'Always',
  securityContext: { privileged: true },
  env: [
    { name: 'USERDATA', valueFrom: { secretKeyRef: { name, key: 'USERDATA' } } },
    { name: 'VM_MEMORY', value: '4G' },
    { name: 'VM_VOLUME_SIZE', value: '32G' },
  ],
  resources,
};

const podContainer = {
  name: 'builder',
  image: 'slipway/worker:latest',
  imagePullPolicy: 'Always',
  securityContext: {
    privileged: false,
    allowPrivilegeEscalation: true,
    capabilities: { drop: ['ALL'], add: ['SETUID', 'SETGID'] },
  },
  env: [
    { name: 'TOKEN', valueFrom: { secretKeyRef: { name, key: 'TOKEN' } } },
    { name: 'BUILD_UUID', value: '11111111-2222-4333-8444-555555555555' },
    { name: 'SERVER', value: 'builds.example.com:55443' },
    { name: 'INSECURE', value: 'false' },
    { name: 'REGISTRY_HOSTNAME', value: 'builds.example.com' },
    { name: 'CONTAINER_RUNTIME', value: 'podman' },
    { name: 'BUILDAH_ISOLATION', value: 'chroot' },
    { name: 'BULDAH_ISOLATION', value: 'chroot' },
    { name: 'DOCKER_HOST', value: 'unix:///tmp/podman-run-1000/podman/podman.sock' },
    { name: 'EXECUTOR', value: 'kubernetesPodman' },
    { name: 'DEBUG', value: 'false' },
    { name: 'SLIPWAY_ATTEMPT', value: 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee' },
  ],
  resources,
  volumeMounts: [{ name: 'certs', mountPath: '/certs' }],
};

const rootless = {
  runAsNonRoot: true,
  runAsUser: 1000,
  runAsGroup: 1000,
  fsGroup: 1000,
  seccompProfile: { type: 'Unconfined' },
};

function jobWith(spec: object, ttl: object = { ttlSecondsAfterFinished: 120 }): object {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace: 'builder', labels },
    spec: {
      suspend: true,
      activeDeadlineSeconds: 7200,
      backoffLimit: 0,
      ...ttl,
      template: { metadata: { labels }, spec: { ...everyPod, ...spec } },
    },
  };
}

describe('the Job of', () => {
  test.each(['k8s', 'basic'] as const)('a virtual machine on %s', (distribution) => {
    expect(objectsOf({ ...machine, distribution }).job).toEqual(jobWith({ containers: [machineContainer] }));
  });

  test('a virtual machine on OpenShift', () => {
    expect(
      objectsOf({
        ...machine,
        distribution: 'openshift',
        nodeSelector: { key: 'beta.kubernetes.io/instance-type', value: 'metal' },
      }).job,
    ).toEqual(
      jobWith({
        serviceAccountName: 'quay-builder-sa',
        nodeSelector: { 'beta.kubernetes.io/instance-type': 'metal' },
        containers: [machineContainer],
      }),
    );
  });

  test.each(['k8s', 'basic'] as const)('a rootless pod on %s', (distribution) => {
    expect(objectsOf({ ...pod, distribution }).job).toEqual(
      jobWith({
        securityContext: { ...rootless, appArmorProfile: { type: 'Unconfined' } },
        containers: [podContainer],
        volumes: [{ name: 'certs', emptyDir: {} }],
      }),
    );
  });

  test('a rootless pod on OpenShift', () => {
    expect(objectsOf({ ...pod, distribution: 'openshift' }).job).toEqual(
      jobWith({
        serviceAccountName: 'quay-builder-sa',
        securityContext: rootless,
        containers: [podContainer],
        volumes: [{ name: 'certs', emptyDir: {} }],
      }),
    );
  });

  test('a pod with a kernel, users, priority and profile of its own', () => {
    const { job } = objectsOf({
      ...pod,
      runtimeClass: 'kata',
      priorityClass: 'builds',
      hostUsers: false,
    });
    expect(job).toMatchObject({
      spec: {
        template: {
          spec: {
            runtimeClassName: 'kata',
            priorityClassName: 'builds',
            hostUsers: false,
            securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
          },
        },
      },
    });
    expect(objectsOf({ ...pod, seccompProfile: 'profiles/build.json' }).job).toMatchObject({
      spec: {
        template: {
          spec: {
            securityContext: {
              seccompProfile: { type: 'Localhost', localhostProfile: 'profiles/build.json' },
            },
          },
        },
      },
    });
  });

  test('a pod for nodes that are kept for builds', () => {
    const { job } = objectsOf({
      ...pod,
      tolerations: ['dedicated=builds:NoSchedule'],
      nodeAffinity: ['disktype in (ssd,nvme)', '!gpu'],
      appArmorProfile: 'slipway-build',
    });
    expect(job).toMatchObject({
      spec: {
        template: {
          spec: {
            tolerations: [{ key: 'dedicated', operator: 'Equal', value: 'builds', effect: 'NoSchedule' }],
            affinity: {
              nodeAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: {
                  nodeSelectorTerms: [
                    {
                      matchExpressions: [
                        { key: 'disktype', operator: 'In', values: ['ssd', 'nvme'] },
                        { key: 'gpu', operator: 'DoesNotExist' },
                      ],
                    },
                  ],
                },
              },
            },
            securityContext: { appArmorProfile: { type: 'Localhost', localhostProfile: 'slipway-build' } },
          },
        },
      },
    });
  });

  test('a worker to be looked into stays', () => {
    expect(objectsOf({ ...machine, debug: true }).job).toEqual(
      jobWith({ containers: [machineContainer] }, {}),
    );
  });
});

test('what is secret is in a Secret that goes with its Job', () => {
  const { secret } = objectsOf({
    ...pod,
    authorities: ['ONE\n', ' TWO', ''],
    proxies: { HTTPS_PROXY: 'http://user:pass@proxy:3128' },
  });
  expect(secret('the-uid')).toEqual({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name,
      namespace: 'builder',
      labels,
      ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name, uid: 'the-uid' }],
    },
    type: 'Opaque',
    immutable: true,
    data: {
      TOKEN: base64('the-token'),
      CA_CERT: base64('ONE\nTWO\n'),
      HTTPS_PROXY: base64('http://user:pass@proxy:3128'),
    },
  });
});

test('workers that trust authorities of their own are told where those are', () => {
  const { job } = objectsOf({ ...pod, authorities: ['PEM'] });
  const { env } = containerOf(job);
  for (const key of ['GIT_SSL_CAINFO', 'TLS_CERT_PATH', 'SSL_CERT_FILE'])
    expect(env).toContainEqual({ name: key, value: '/certs/cacert.crt' });
  expect(env).toContainEqual({ name: 'CA_CERT', valueFrom: { secretKeyRef: { name, key: 'CA_CERT' } } });
});

test('each attempt has a name of its own, and the same one each time', () => {
  const other = parseAttemptId('ffffffff-bbbb-4ccc-8ddd-eeeeeeeeeeee') ?? never();
  expect(objectsOf(pod, { token: 'another' }).name).toBe(objectsOf(pod).name);
  expect(objectsOf(pod, { attemptId: other }).name).not.toBe(objectsOf(pod).name);
});

const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.constantFrom(
    '$(TOKEN)',
    '$$(TOKEN)',
    '"}],"hostNetwork":true,"x":[{"',
    '\n  privileged: true',
    '../../secrets/other',
    '$',
    '$$',
    '$($(TOKEN))',
    '\u0000',
  ),
);

test('nothing a value holds leaves its place', () => {
  fc.assert(
    fc.property(
      fc.record({ token: hostile, server: hostile, registryHost: hostile, proxy: hostile, ca: hostile }),
      ({ proxy, ca, ...its }) => {
        const settings = { ...pod, proxies: { HTTP_PROXY: proxy }, authorities: ['x', ca] };
        const tame = objectsOf({ ...settings, proxies: { HTTP_PROXY: '' } }, { token: 't' });
        const wild = objectsOf(settings, its);
        // Everything but the values of the environment is as without them.
        expect(shapeOf(wild.job)).toEqual(shapeOf(tame.job));
        const secret = wild.secret('uid') as { readonly data: Record<string, string> };
        expect(text(secret.data.TOKEN)).toBe(wellFormed(its.token));
        expect(text(secret.data.HTTP_PROXY)).toBe(wellFormed(proxy));
        const plain = containerOf(wild.job).env.find((each) => each.name === 'SERVER')?.value ?? '';
        expect(expanded(plain)).toBe(its.server);
      },
    ),
  );
});

test('no secret stands in the Job, the names or the labels', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Za-z0-9]{24,64}$/), (secret) => {
      for (const settings of [machine, pod]) {
        const { job, secret: secretOf } = objectsOf(
          { ...settings, proxies: { HTTP_PROXY: `http://u:${secret}@p` } },
          { token: secret },
        );
        expect(JSON.stringify(job)).not.toContain(secret);
        expect(JSON.stringify((secretOf('u') as { readonly metadata: object }).metadata)).not.toContain(
          secret,
        );
      }
    }),
  );
});

interface Container {
  readonly env: readonly { readonly name: string; readonly value?: string }[];
}

function containerOf(job: object): Container {
  const { spec } = job as {
    readonly spec: { readonly template: { readonly spec: { readonly containers: readonly Container[] } } };
  };
  return spec.template.spec.containers[0] ?? never();
}

function shapeOf(job: object): unknown {
  return JSON.parse(
    JSON.stringify(job, (key, value) =>
      key === 'env'
        ? (value as Container['env']).map((each) => (each.value === undefined ? each : { name: each.name }))
        : value,
    ),
  );
}

/** What Kubernetes makes of a value (third_party/forked/golang/expansion): `$$` is `$`, `$(X)` another's value. */
function expanded(value: string): string {
  return value.replaceAll(/\$\$|\$\([^)]*\)|\$/g, (found) => (found === '$$' ? '$' : `<${found}>`));
}

function text(data: string | undefined): string {
  return Buffer.from(data ?? '', 'base64').toString('utf8');
}

function base64(value: string): string {
  return Buffer.from(value).toString('base64');
}

/** Half a surrogate pair is no text anywhere. */
function wellFormed(value: string): string {
  return Buffer.from(value, 'utf8').toString('utf8');
}

function never(): never {
  throw new Error('cannot be');
}
