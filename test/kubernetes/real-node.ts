import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream';
import { promisify } from 'node:util';
import { ServerProcess, serviceFolder } from '../services/service.ts';
import { findBinaries } from './binaries.ts';
import { makeControlGroups, removeControlGroups } from './control-groups.ts';
import type { ControlPlane } from './control-plane.ts';
import { kubeconfig } from './kubeconfig.ts';

const run = promisify(execFile);

export interface RealNodeOptions {
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** An image (tar as `buildah push … docker-archive:` writes it) that does nothing for ever, and its name. */
  readonly pause: { readonly archive: string; readonly image: string };
}

/**
 * A real kubelet with Debian's containerd, whose pods really run. Both live in namespaces of their own for processes, mounts
 * and the network, so all they started, mounted and set up ends with the first of them, however the test ends. Needs root.
 *
 * | address            | what is there                                                    |
 * |--------------------|------------------------------------------------------------------|
 * | 10.213.N.1         | this machine, as node and pods see it: ports that `expose` opened |
 * | 10.213.N.2         | the kubelet                                                      |
 * | 10.213.N.128/25    | pods                                                             |
 */
export class RealNode implements AsyncDisposable {
  readonly name: string;
  readonly #folder: string;
  readonly #network: NodeNetwork;
  readonly #doors: Server[] = [];
  #process: ServerProcess | undefined;

  private constructor(name: string, folder: string, network: NodeNetwork) {
    this.name = name;
    this.#folder = folder;
    this.#network = network;
  }

  /** Resolves when pods may be scheduled to it. */
  static async join(
    plane: ControlPlane,
    { name = 'real-1', labels = {}, pause }: RealNodeOptions,
  ): Promise<RealNode> {
    const binaries = findBinaries();
    if ('missing' in binaries) throw new Error(binaries.missing);
    const node = new RealNode(name, await serviceFolder('node'), await NodeNetwork.create());
    try {
      await node.#start(plane, binaries.folder, labels, pause);
      return node;
    } catch (thrown) {
      await node[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** Makes an image of an archive known to the node; pods that use it need imagePullPolicy IfNotPresent or Never. */
  async importImage(archive: string): Promise<void> {
    await run('ctr', ['-a', this.#socket, '-n', 'k8s.io', 'images', 'import', archive]);
  }

  /** Leads pods to a loopback port of this machine; the answer is host:port as they see it. */
  async expose(port: number): Promise<string> {
    const door = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      pipeline(near, far, () => {});
      pipeline(far, near, () => {});
    });
    this.#doors.push(door);
    const { host } = this.#network;
    await new Promise<void>((resolve, reject) => {
      door.once('error', reject);
      door.listen(0, host, resolve);
    });
    return `${host}:${(door.address() as AddressInfo).port}`;
  }

  get #socket(): string {
    return join(this.#folder, 'containerd.sock');
  }

  async #start(
    plane: ControlPlane,
    binaries: string,
    labels: Readonly<Record<string, string>>,
    pause: { readonly archive: string; readonly image: string },
  ): Promise<void> {
    const folder = this.#folder;
    const { node } = this.#network;
    const [identity, server, apiServer] = await Promise.all([
      plane.authority.forClient({ user: `system:node:${this.name}`, group: 'system:nodes' }),
      plane.authority.forServer(this.name, [`IP:${node}`]),
      this.expose(plane.port),
      mkdir(join(folder, 'cni')),
      makeControlGroups(basename(folder)),
    ]);
    const account = {
      url: `https://${apiServer}`,
      serverName: 'localhost',
      authority: plane.authority.pem,
      identity,
    };
    await Promise.all([
      writeFile(join(folder, 'kubeconfig'), kubeconfig(account)),
      writeFile(join(folder, 'containerd.toml'), containerdConfig(folder, pause.image)),
      writeFile(join(folder, 'cni', '10-test.conflist'), JSON.stringify(podNetwork(this.#network))),
      writeFile(
        join(folder, 'kubelet.json'),
        JSON.stringify({
          ...kubeletConfig(folder),
          ...{ address: node, tlsCertFile: server.certificateFile, tlsPrivateKeyFile: server.keyFile },
          authentication: {
            anonymous: { enabled: false },
            webhook: { enabled: false },
            x509: { clientCAFile: plane.authority.file },
          },
        }),
      ),
      writeFile(join(folder, 'start.sh'), startScript),
    ]);
    const script = ['sh', join(folder, 'start.sh'), folder, join(binaries, 'kubelet'), this.name, node];
    const given = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    this.#process = new ServerProcess(
      [
        'setpriv',
        [
          ...['--pdeathsig', 'KILL', '--', 'nsenter', `--net=/run/netns/${this.#network.name}`, '--'],
          ...['unshare', '--mount', '--pid', '--mount-proc', '--fork', '--kill-child=KILL', '--', ...script],
          ...(given.length === 0 ? [] : [`--node-labels=${given.join(',')}`]),
        ],
      ],
      folder,
    );
    const becomes = async (what: string, probe: () => Promise<boolean>) => {
      if (!(await this.#process?.ready(probe, 120_000)))
        throw new Error(`${what} ends when it is started: ${this.#process?.output}`);
    };
    await becomes('containerd', async () => existsSync(this.#socket));
    await this.importImage(pause.archive);
    await writeFile(join(folder, 'go'), '');
    await becomes('the kubelet', async () => {
      const object = await plane.admin.find(`/api/v1/nodes/${this.name}`);
      const conditions = (object?.status?.conditions ?? []) as { type: string; status: string }[];
      return (
        conditions.some(({ type, status }) => type === 'Ready' && status === 'True') &&
        object?.spec.taints === undefined
      );
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.stop('SIGKILL');
    for (const door of this.#doors) door.close();
    await this.#network.remove();
    await removeControlGroups(basename(this.#folder));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** The way between this machine and the node: a pair of virtual devices, whose far end is in the node's namespace. */
class NodeNetwork {
  readonly name = `slipway-test-${process.pid}`;
  readonly #device = `slk${process.pid}`;
  readonly #subnet = `10.213.${process.pid % 250}`;
  readonly host = `${this.#subnet}.1`;
  readonly node = `${this.#subnet}.2`;
  readonly gateway = `${this.#subnet}.129`;
  readonly pods = `${this.#subnet}.128/25`;

  static async create(): Promise<NodeNetwork> {
    for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
      const pid = /^slipway-test-(\d+)$/.exec(name)?.[1];
      // Of a test that was killed.
      if (pid !== undefined && !existsSync(`/proc/${pid}`)) await run('ip', ['netns', 'del', name]);
    }
    const network = new NodeNetwork();
    const { name, host, node, pods } = network;
    const device = network.#device;
    const ip = async (line: string) => await run('ip', line.split(' '));
    await ip(`netns add ${name}`);
    try {
      await ip(`link add ${device} type veth peer name eth0 netns ${name}`);
      await ip(`addr add ${host}/30 dev ${device}`);
      await ip(`link set ${device} up`);
      await ip(`-n ${name} addr add ${node}/30 dev eth0`);
      for (const link of ['lo', 'eth0']) await ip(`-n ${name} link set ${link} up`);
      await ip(`-n ${name} route add default via ${host}`);
      await ip(`route add ${pods} via ${node}`);
      return network;
    } catch (thrown) {
      await network.remove();
      throw thrown;
    }
  }

  async remove(): Promise<void> {
    // The devices end with the namespace, and the routes with them, but not at once.
    await run('ip', ['link', 'del', this.#device]).catch(() => {});
    await run('ip', ['netns', 'del', this.name]).catch(() => {});
  }
}

/**
 * First process of the node. What a kubelet and containerd write outside of their folders, they write into file systems of
 * their own; and the kubelet finds the settings of the kernel that it would otherwise change for the whole machine.
 */
const startScript = `
folder=$1 kubelet=$2 name=$3 address=$4; shift 4
set -e
for place in /run /var/lib/cni /var/lib/kubelet /var/log; do
  mkdir -p $place
  mount -t tmpfs tmpfs $place
done
mkdir /run/netns
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \\
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$folder/$(echo "\${setting%=*}" | tr / -)
  echo "\${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/\${setting%=*}"
done
containerd -c "$folder/containerd.toml" > "$folder/containerd.log" 2>&1 &
until [ -e "$folder/go" ]; do sleep 0.1; done
"$kubelet" --config "$folder/kubelet.json" --kubeconfig "$folder/kubeconfig" --root-dir "$folder/kubelet" \\
  --cert-dir "$folder/certificates" --hostname-override "$name" --node-ip "$address" "$@"
`;

function containerdConfig(folder: string, pause: string): string {
  return `
version = 2
root = "${folder}/containerd"
state = "${folder}/containerd-state"
[grpc]
  address = "${folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pause}"
  # A machine without CAP_SYS_RESOURCE cannot make a process less likely to be killed.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${folder}/cni"
`;
}

function podNetwork({ pods, gateway }: NodeNetwork): object {
  const ipam = {
    type: 'host-local',
    ranges: [[{ subnet: pods, gateway }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  return {
    cniVersion: '0.4.0',
    name: 'slipway-test',
    plugins: [{ type: 'bridge', bridge: 'pods', isGateway: true, ipMasq: false, ipam }],
  };
}

function kubeletConfig(folder: string): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: `unix://${folder}/containerd.sock`,
    authorization: { mode: 'AlwaysAllow' },
    ...{ healthzPort: 0, readOnlyPort: 0 },
    // Also on machines with control groups of the first version.
    ...{ cgroupDriver: 'cgroupfs', failCgroupV1: false, cgroupRoot: `/${basename(folder)}` },
    ...{ failSwapOn: false, oomScoreAdj: 0, makeIPTablesUtilChains: false },
    ...{ evictionHard: { 'memory.available': '1Mi' }, imageGCHighThresholdPercent: 100 },
    nodeStatusUpdateFrequency: '2s',
    podLogsDir: join(folder, 'pod-logs'),
    volumePluginDir: join(folder, 'volume-plugins'),
  };
}
