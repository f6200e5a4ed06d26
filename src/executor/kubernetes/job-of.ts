import { requirementOf, tolerationOf } from '../../model/node-placement.ts';
import type { WorkerOrder } from '../executor.ts';
import { environmentOf, type Variable } from './environment-of.ts';
import { jobNameOf, labelsOf } from './labels.ts';
import type { JobMaker, KubernetesSettings, UserData } from './settings.ts';

export interface JobObjects {
  readonly name: string;
  /** Suspended: it runs nothing until its Secret is there. */
  readonly job: object;
  /** Owned by the Job of this uid, so that it goes with it. */
  readonly secret: (jobUid: string) => object;
}

/** Seconds a worker has between being asked to end and its end by force. */
const grace = 10;

/**
 * The Job and the Secret of one order. What the order and the configuration say is data in them: it stands in values,
 * never in keys or commands, and no secret is in the Job.
 */
export function jobObjectsOf(
  order: WorkerOrder,
  settings: KubernetesSettings,
  maker: JobMaker,
  { userData, now }: { readonly userData: UserData; readonly now: number },
): JobObjects {
  const name = jobNameOf(order);
  const labels = labelsOf(order, settings, maker, now);
  const environment = environmentOf(order, settings, userData);
  return {
    name,
    job: {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name, namespace: settings.namespace, labels },
      spec: {
        suspend: true,
        activeDeadlineSeconds: seconds(settings.maximumJobTime),
        // Another try is the manager's to decide.
        backoffLimit: 0,
        ...(settings.debug ? {} : { ttlSecondsAfterFinished: seconds(settings.retentionAfterFinished) }),
        template: {
          metadata: { labels },
          spec: podOf(name, environment, settings),
        },
      },
    },
    secret: (uid) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        name,
        namespace: settings.namespace,
        labels,
        ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name, uid }],
      },
      type: 'Opaque',
      immutable: true,
      data: Object.fromEntries(
        environment
          .filter((variable) => variable.secret)
          .map((variable) => [variable.name, Buffer.from(variable.value, 'utf8').toString('base64')]),
      ),
    }),
  };
}

function podOf(secretName: string, environment: readonly Variable[], settings: KubernetesSettings): object {
  const rootless = settings.type === 'kubernetesPodman';
  return {
    imagePullSecrets: [{ name: settings.imagePullSecret }],
    restartPolicy: 'Never',
    dnsPolicy: settings.dnsPolicy,
    // What is built is hostile: it gets no way into the cluster.
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: grace,
    ...(settings.distribution === 'openshift' ? { serviceAccountName: settings.serviceAccount } : {}),
    ...(settings.nodeSelector === undefined
      ? {}
      : { nodeSelector: { [settings.nodeSelector.key]: settings.nodeSelector.value } }),
    ...(settings.runtimeClass === undefined ? {} : { runtimeClassName: settings.runtimeClass }),
    ...(settings.priorityClass === undefined ? {} : { priorityClassName: settings.priorityClass }),
    ...(settings.tolerations.length === 0 ? {} : { tolerations: settings.tolerations.map(tolerationOf) }),
    ...(settings.nodeAffinity.length === 0 ? {} : { affinity: affinityOf(settings.nodeAffinity) }),
    ...(settings.hostUsers ? {} : { hostUsers: false }),
    ...(rootless ? { securityContext: rootlessPod(settings) } : {}),
    containers: [
      {
        name: 'builder',
        image: settings.image,
        imagePullPolicy: settings.imagePullPolicy,
        securityContext: rootless ? rootlessContainer : { privileged: true },
        env: environment.map((variable) =>
          variable.secret
            ? {
                name: variable.name,
                valueFrom: { secretKeyRef: { name: secretName, key: variable.name } },
              }
            : { name: variable.name, value: literal(variable.value) },
        ),
        resources: {
          requests: { memory: settings.memoryRequest, cpu: settings.cpuRequest },
          limits: { memory: settings.memoryLimit, cpu: settings.cpuLimit },
        },
        ...(rootless ? { volumeMounts: [{ name: 'certs', mountPath: '/certs' }] } : {}),
      },
    ],
    ...(rootless ? { volumes: [{ name: 'certs', emptyDir: {} }] } : {}),
  };
}

/** All of them, of one node. */
function affinityOf(requirements: readonly string[]): object {
  const nodeSelectorTerms = [{ matchExpressions: requirements.map(requirementOf) }];
  return { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } };
}

/** The account of the worker's image. */
const account = 1000;

/**
 * A rootless engine maps the subordinate ids of its account by newuidmap, which has its rights from its file: so they
 * may be gained, and just these two. Nothing else is left of root.
 */
const rootlessContainer = {
  privileged: false,
  allowPrivilegeEscalation: true,
  capabilities: { drop: ['ALL'], add: ['SETUID', 'SETGID'] },
};

/**
 * The default profiles of container runtimes refuse an unprivileged process its own user namespace and mounts, which
 * rootless building is made of. Where the pod has a kernel of its own, they are not in the way.
 */
function rootlessPod({
  seccompProfile,
  appArmorProfile,
  runtimeClass,
  distribution,
}: KubernetesSettings): object {
  const seccomp = seccompProfile ?? (runtimeClass === undefined ? 'Unconfined' : 'RuntimeDefault');
  // OpenShift has SELinux instead.
  const usual = seccomp === 'Unconfined' && distribution !== 'openshift' ? 'Unconfined' : undefined;
  const appArmor = appArmorProfile ?? usual;
  return {
    runAsNonRoot: true,
    runAsUser: account,
    runAsGroup: account,
    fsGroup: account,
    seccompProfile: profileOf(seccomp),
    ...(appArmor === undefined ? {} : { appArmorProfile: profileOf(appArmor) }),
  };
}

function profileOf(name: string): object {
  return name === 'Unconfined' || name === 'RuntimeDefault'
    ? { type: name }
    : { type: 'Localhost', localhostProfile: name };
}

/** Kubernetes replaces `$(NAME)` by other variables' values; `$$` stands for one `$`. */
function literal(value: string): string {
  return value.replaceAll('$', '$$$$');
}

function seconds(milliseconds: number): number {
  return Math.max(1, Math.round(milliseconds / 1000));
}
