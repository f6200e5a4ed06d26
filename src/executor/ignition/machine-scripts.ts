/*
 * The scripts and units of a worker's machine. None of them has a value of an order or of the configuration in it, but
 * for a number of seconds: they read what they need from files, and hand it on as one quoted word.
 */

export const machinePaths = {
  environment: '/root/overrides.list',
  image: '/etc/slipway/worker-image',
  username: '/etc/slipway/registry-username',
  password: '/etc/slipway/registry-password',
  /** Its folder is one that the machine's own tools read. */
  authorities: '/etc/pki/ca-trust/source/anchors/cacert.crt',
  runWorker: '/usr/local/sbin/slipway-run-worker',
  blockMetadata: '/usr/local/sbin/slipway-block-metadata',
} as const;

/** Pulls and runs the worker's image, privileged, in the foreground. */
export function runWorkerScript(runtime: 'docker' | 'podman', trusts: boolean): string {
  const socket = runtime === 'docker' ? '/var/run/docker.sock' : '/run/podman/podman.sock';
  return `#!/bin/bash
set -u
image=$(< ${machinePaths.image})
# For pulling: the engine's own proxies. Nothing else of the worker's is in this environment.
while IFS= read -r line; do
  case $line in HTTP_PROXY=* | HTTPS_PROXY=* | NO_PROXY=*) export "$line" ;; esac
done < ${machinePaths.environment}
if [ -s ${machinePaths.password} ]; then
  registry=\${image%%/*}
  case $image in */*) ;; *) registry= ;; esac
  case $registry in *.* | *:* | localhost) ;; *) registry=docker.io ;; esac
  ${runtime} login --username="$(< ${machinePaths.username})" --password-stdin "$registry" < ${machinePaths.password}
fi
${trusts ? trust : ''}exec ${runtime} run --rm --name=quay-builder --net=host --privileged --pull=always \\
  --env-file=${machinePaths.environment} --volume=${socket}:/var/run/docker.sock \\
  ${trusts ? '--volume="$authorities:/certs/cacert.crt:ro" ' : ''}"$image"
`;
}

/** The machine's own list once it has ours in it, so that the worker trusts the public authorities too. */
const trust = `authorities=${machinePaths.authorities}
if command -v update-ca-trust > /dev/null && update-ca-trust extract; then
  authorities=/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem
fi
`;

/**
 * From here on nothing on the machine, and no container, reaches the metadata service, which would tell a build the
 * worker's registration token. Fails when nothing keeps it away.
 */
export const blockMetadataScript = `#!/bin/bash
set -u
blocked=no
ip route replace prohibit 169.254.169.254/32 && blocked=yes
ip -6 route replace prohibit fd00:ec2::254/128
if command -v iptables > /dev/null; then
  iptables --wait --insert OUTPUT --destination 169.254.169.254 --jump DROP &&
    iptables --wait --insert FORWARD --destination 169.254.169.254 --jump DROP && blocked=yes
fi
[ $blocked = yes ]
`;

export interface IgnitionUnit {
  readonly name: string;
  readonly enabled: boolean;
  readonly contents: string;
}

export interface UnitOptions {
  readonly runtime: 'docker' | 'podman';
  readonly debug: boolean;
  readonly lifetimeSeconds: number;
}

/** Seconds between the end of the worker and that of its machine: time to send what it logged, and to look at it. */
const powerOffAfter = 120;

export function machineUnits({ runtime, debug, lifetimeSeconds }: UnitOptions): readonly IgnitionUnit[] {
  const engine = `${runtime}.socket`;
  const powerOff = (after: number) => `/bin/bash -c 'sleep ${after}; systemctl --no-block poweroff'`;
  return [
    {
      name: 'quay-builder.service',
      enabled: true,
      contents: `[Unit]
Description=Builds one container image
Wants=network-online.target
After=network-online.target ${engine} disable-metadata.service
Requires=${engine} disable-metadata.service

[Service]
Type=oneshot
TimeoutStartSec=infinity
TimeoutStopSec=${powerOffAfter + 180}
ExecStart=/bin/bash ${machinePaths.runWorker}
${debug ? '' : `ExecStopPost=${powerOff(powerOffAfter)}\n`}
[Install]
WantedBy=multi-user.target
`,
    },
    {
      name: 'disable-metadata.service',
      enabled: true,
      contents: `[Unit]
Description=Keeps builds away from the metadata of this machine
Wants=network-online.target
# The keys of the machine's key pair come from there.
After=network-online.target afterburn-sshkeys@core.service
${debug ? '' : 'FailureAction=poweroff\n'}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash ${machinePaths.blockMetadata}

[Install]
WantedBy=multi-user.target
`,
    },
    {
      name: 'systemd-journal-gatewayd.socket',
      enabled: true,
      contents: `[Unit]
Description=Journal over HTTP, on a socket of this machine only

[Socket]
ListenStream=/run/journald.sock
SocketMode=0600
Service=systemd-journal-gatewayd.service

[Install]
WantedBy=sockets.target
`,
    },
    {
      name: 'machine-lifetime.service',
      enabled: true,
      contents: `[Unit]
Description=Ends this machine when its time is over

[Service]
Type=simple
ExecStart=${powerOff(lifetimeSeconds)}

[Install]
WantedBy=multi-user.target
`,
    },
  ];
}
