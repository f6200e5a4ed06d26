import type { WorkerOrder } from '../executor.ts';
import type { KubernetesSettings, UserData } from './settings.ts';

/** `secret`: kept in the Job's Secret, and in the Job only by reference. */
export interface Variable {
  readonly name: string;
  readonly value: string;
  readonly secret: boolean;
}

const certificates = '/certs/cacert.crt';

const plain = (name: string, value: string): Variable => ({ name, value, secret: false });
const secret = (name: string, value: string): Variable => ({ name, value, secret: true });

/** What the container of a worker has in its environment, by the names that workers of this protocol read. */
export function environmentOf(
  order: WorkerOrder,
  settings: KubernetesSettings,
  userData: UserData,
): readonly Variable[] {
  if (settings.type === 'kubernetes')
    return [
      // The token is in it.
      secret('USERDATA', userData(order)),
      plain('VM_MEMORY', settings.vmMemory ?? '4G'),
      plain('VM_VOLUME_SIZE', settings.volumeSize),
    ];
  const authorities = settings.authorities.map((each) => each.trim()).filter((each) => each !== '');
  return [
    secret('TOKEN', order.token),
    plain('BUILD_UUID', order.buildId),
    plain('SERVER', order.server),
    plain('INSECURE', String(!order.serverTls)),
    plain('REGISTRY_HOSTNAME', order.registryHost),
    plain('CONTAINER_RUNTIME', settings.containerRuntime),
    plain('BUILDAH_ISOLATION', 'chroot'),
    // One worker of this protocol reads the misspelt name.
    plain('BULDAH_ISOLATION', 'chroot'),
    plain('DOCKER_HOST', 'unix:///tmp/podman-run-1000/podman/podman.sock'),
    plain('EXECUTOR', settings.type),
    plain('DEBUG', String(settings.debug)),
    plain('SLIPWAY_ATTEMPT', order.attemptId),
    // Not secret, but long, and every look at the Jobs would carry it.
    ...(authorities.length === 0
      ? []
      : [
          secret('CA_CERT', `${authorities.join('\n')}\n`),
          // Where the start script of the image writes CA_CERT to.
          plain('GIT_SSL_CAINFO', certificates),
          plain('TLS_CERT_PATH', certificates),
          plain('SSL_CERT_FILE', certificates),
        ]),
    // A proxy's URL may hold a password.
    ...Object.entries(settings.proxies).map(([name, value]) => secret(name, value)),
  ];
}
