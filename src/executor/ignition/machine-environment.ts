import type { WorkerOrder } from '../executor.ts';
import { oneLine, variableName } from './checked-value.ts';
import type { WorkerMachine } from './worker-machine.ts';

/** Where the worker's container has the authorities to trust. */
export const authoritiesInWorker = '/certs/cacert.crt';
/** Where the worker's container has the socket of the machine's engine, by the path that workers look at first. */
export const engineSocket = '/var/run/docker.sock';

/** The environment of a worker in a virtual machine, by the names that workers of this protocol share. */
export function machineEnvironment(
  executor: string,
  machine: WorkerMachine,
  order: WorkerOrder,
): Readonly<Record<string, string>> {
  const { authorities, proxies, containerRuntime, debug } = machine;
  return {
    TOKEN: order.token,
    SERVER: order.server,
    INSECURE: String(!order.serverTls),
    BUILD_UUID: order.buildId,
    REGISTRY_HOSTNAME: order.registryHost,
    EXECUTOR: executor,
    SLIPWAY_ATTEMPT: order.attemptId,
    CONTAINER_RUNTIME: containerRuntime,
    DOCKER_HOST: `unix://${engineSocket}`,
    ...(authorities.length === 0
      ? {}
      : {
          TLS_CERT_PATH: authoritiesInWorker,
          SSL_CERT_FILE: authoritiesInWorker,
          GIT_SSL_CAINFO: authoritiesInWorker,
        }),
    ...(debug ? { DEBUG: 'true' } : {}),
    ...proxies,
  };
}

/**
 * The file that `--env-file` reads: a line is a name, `=`, and everything up to its end. There are no quotes and no
 * escapes, so a value of more than one line cannot be written.
 */
export function environmentFile(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${variableName(name)}=${oneLine(name, value)}\n`)
    .join('');
}
