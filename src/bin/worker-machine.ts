import type { ExecutorCommon } from '../config/config.ts';
import type { WorkerMachine } from '../executor/ignition/worker-machine.ts';

/** What an entry of EXECUTORS says of the virtual machines that it starts. */
export function workerMachineOf({ worker, debug }: ExecutorCommon): WorkerMachine {
  const { imageCredentials, caCert, extraCaCerts } = worker;
  return {
    image: worker.image,
    tag: worker.tag,
    ...(imageCredentials === undefined
      ? {}
      : {
          imageCredentials: {
            username: imageCredentials.username,
            password: imageCredentials.password.reveal(),
          },
        }),
    containerRuntime: worker.containerRuntime,
    maxLifetime: worker.maxLifetime,
    sshAuthorizedKeys: worker.sshAuthorizedKeys,
    authorities: [...(caCert === undefined ? [] : [caCert]), ...extraCaCerts],
    proxies: worker.proxies,
    debug,
  };
}
