import type { WorkerOrder } from '../executor.ts';
import { hostName, imageReference, oneLine, seconds } from './checked-value.ts';
import { type IgnitionFile, ignitionFile } from './ignition-file.ts';
import { environmentFile, machineEnvironment } from './machine-environment.ts';
import { blockMetadataScript, machinePaths, machineUnits, runWorkerScript } from './machine-scripts.ts';
import type { WorkerMachine } from './worker-machine.ts';

/**
 * What a virtual machine is told at its first boot, as Ignition 3.0.0 JSON: a machine that runs one worker for this order
 * and powers off. A pure function. It holds the registration token, so it is a secret. Throws ExecutorError
 * `misconfigured` for a value that cannot be handed on as it is; the message does not repeat it.
 */
export function userData(executor: string, machine: WorkerMachine, order: WorkerOrder): string {
  const { containerRuntime: runtime, debug } = machine;
  const lifetimeSeconds = seconds('MAX_LIFETIME_S', machine.maxLifetime);
  return JSON.stringify({
    ignition: { version: '3.0.0' },
    passwd: {
      users: [
        {
          name: 'core',
          groups: ['sudo'],
          sshAuthorizedKeys: machine.sshAuthorizedKeys.map((key) => oneLine('SSH_AUTHORIZED_KEYS', key)),
        },
      ],
    },
    storage: { files: filesOf(executor, machine, order) },
    systemd: { units: machineUnits({ runtime, debug, lifetimeSeconds }) },
  });
}

function filesOf(executor: string, machine: WorkerMachine, order: WorkerOrder): IgnitionFile[] {
  const { containerRuntime: runtime, imageCredentials } = machine;
  const authorities = machine.authorities.map((pem) => `${pem.trim()}\n`).join('');
  const trusts = machine.authorities.length > 0;
  const certificates = runtime === 'docker' ? '/etc/docker/certs.d' : '/etc/containers/certs.d';
  const registry = hostName('The hostname of the registry', order.registryHost);
  return [
    ...(trusts
      ? [
          ignitionFile(machinePaths.authorities, authorities),
          ignitionFile(`${certificates}/${registry}/ca.crt`, authorities),
        ]
      : []),
    ignitionFile(
      '/etc/containers/registries.conf',
      'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n',
    ),
    ignitionFile('/etc/hostname', `${oneLine('The build’s id', order.buildId)}\n`),
    ignitionFile('/etc/zincati/config.d/90-disable-auto-updates.toml', '[updates]\nenabled = false\n'),
    ignitionFile(machinePaths.blockMetadata, blockMetadataScript, 0o755),
    ignitionFile(machinePaths.runWorker, runWorkerScript(runtime, trusts), 0o755),
    ignitionFile(machinePaths.image, `${imageReference(machine.image, machine.tag)}\n`),
    ...(imageCredentials === undefined
      ? []
      : [
          ignitionFile(
            machinePaths.username,
            `${oneLine('QUAY_USERNAME', imageCredentials.username)}\n`,
            0o600,
          ),
          ignitionFile(
            machinePaths.password,
            `${oneLine('QUAY_PASSWORD', imageCredentials.password)}\n`,
            0o600,
          ),
        ]),
    ignitionFile(
      machinePaths.environment,
      environmentFile(machineEnvironment(executor, machine, order)),
      0o600,
    ),
  ];
}
