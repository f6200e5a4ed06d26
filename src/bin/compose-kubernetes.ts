import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { KubernetesExecutorConfig } from '../config/config.ts';
import type { Executor } from '../executor/executor.ts';
import { userData } from '../executor/ignition/user-data.ts';
import { openConnection } from '../executor/kubernetes/connection.ts';
import { KubernetesExecutor } from '../executor/kubernetes/kubernetes-executor.ts';
import type { KubernetesSettings } from '../executor/kubernetes/settings.ts';
import type { ProcessEnvironment } from './environment.ts';
import { versionOf } from './version.ts';
import { workerMachineOf } from './worker-machine.ts';

export interface KubernetesOptions {
  readonly environment: ProcessEnvironment;
  /** The installation's hostname: its Jobs carry it. */
  readonly site: string;
  /** ALLOWED_WORKER_COUNT */
  readonly allowedWorkers: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The executor of one entry of EXECUTORS that runs workers as Jobs of a Kubernetes cluster. */
export async function composeKubernetes(
  entry: KubernetesExecutorConfig,
  { environment, site, allowedWorkers, clock, logger }: KubernetesOptions,
): Promise<Executor> {
  const { api, debug, name } = entry;
  const machine = workerMachineOf(entry);
  const token = api.token;
  // Jobs that stay after their build are known to nobody but the executor.
  const maxWorkers = debug ? Math.min(entry.maxWorkers ?? allowedWorkers, allowedWorkers) : entry.maxWorkers;
  return new KubernetesExecutor({
    settings: settingsOf(entry),
    maker: { manager: hostname(), version: await versionOf(environment.installation), site },
    connection: openConnection({
      server: api.server,
      kubeconfig: api.kubeconfig,
      ca: api.ca,
      certificate: api.certificate,
      verifyTls: api.verifyTls,
      token: token === undefined ? undefined : () => token.reveal(),
      tokenFile: api.tokenFile,
      inCluster: {
        host: environment.variables.KUBERNETES_SERVICE_HOST,
        port: environment.variables.KUBERNETES_SERVICE_PORT,
      },
    }),
    timeout: api.timeout,
    // What a virtual machine in a pod is told at its first boot.
    userData: (order) => userData(name, machine, order),
    ...(maxWorkers === undefined ? {} : { maxWorkers }),
    clock,
    onTrouble: (trouble) => {
      const fields = { executor: name, err: trouble };
      if (trouble === undefined) logger.info({ executor: name }, 'the workers can be looked at again');
      else logger.error(fields, 'the workers cannot be looked at; they are taken to run');
    },
  });
}

function settingsOf(entry: KubernetesExecutorConfig): KubernetesSettings {
  const { worker, api: _, rules: __, maxWorkers: ___, ...own } = entry;
  return {
    ...own,
    volumeSize: worker.volumeSize,
    authorities: [...(worker.caCert === undefined ? [] : [worker.caCert]), ...worker.extraCaCerts],
    proxies: worker.proxies,
    containerRuntime: worker.containerRuntime,
  };
}
