import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type ApiClient, KubernetesAnswer } from './api-client.ts';
import type { ControlPlane } from './control-plane.ts';

/** Milliseconds. */
const heartbeatEvery = 2000;

export interface FakeNodeOptions {
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly memory?: string;
  readonly cpu?: string;
}

/**
 * A node without a machine: registered, ready, with heartbeats, and with the port that the API server asks for what
 * containers wrote. It acts under the certificate of a node, so that it may do what a kubelet may, and nothing else.
 */
export class FakeNode implements AsyncDisposable {
  readonly name: string;
  /** The API server as this node sees it. */
  readonly api: ApiClient;
  readonly #logs = new Map<string, string>();
  readonly #server: Server;
  readonly #options: FakeNodeOptions;
  #beating: NodeJS.Timeout | undefined;
  #beat: Promise<void> = Promise.resolve();

  private constructor(name: string, api: ApiClient, server: Server, options: FakeNodeOptions) {
    this.name = name;
    this.api = api;
    this.#server = server;
    this.#options = options;
    server.on('request', (request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? '/', 'https://node');
      const [, what, namespace, pod] = pathname.split('/');
      const text = what === 'containerLogs' ? this.#logs.get(`${namespace}/${pod}`) : undefined;
      if (text === undefined) {
        response.writeHead(404).end('there is no such log\n');
        return;
      }
      const tail = Number(searchParams.get('tailLines') ?? Number.POSITIVE_INFINITY);
      const lines = text.split('\n').slice(0, text.endsWith('\n') ? -1 : undefined);
      response.end(
        lines
          .slice(Math.max(0, lines.length - tail))
          .map((line) => `${line}\n`)
          .join(''),
      );
    });
  }

  /** Resolves when pods may be scheduled to it. */
  static async join(plane: ControlPlane, options: FakeNodeOptions = {}): Promise<FakeNode> {
    const { name = 'node-1' } = options;
    const [client, certificate] = await Promise.all([
      plane.authority.forClient({ user: `system:node:${name}`, group: 'system:nodes' }),
      plane.authority.forServer(name),
    ]);
    const server = createServer({ cert: certificate.certificate, key: certificate.key });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const node = new FakeNode(name, plane.clientOf(client), server, options);
    try {
      await node.#register();
      node.thaw();
      await node.#beat;
      await node.#schedulable();
      return node;
    } catch (thrown) {
      await node[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** What the container of a pod has written so far. */
  setLog(namespace: string, pod: string, text: string): void {
    this.#logs.set(`${namespace}/${pod}`, text);
  }

  /** No heartbeats from now on. */
  freeze(): void {
    clearInterval(this.#beating);
    this.#beating = undefined;
  }

  thaw(): void {
    if (this.#beating !== undefined) return;
    const beat = () => {
      // One that fails is made good by the next.
      this.#beat = this.#beat.then(() => this.#heartbeat()).catch(() => {});
    };
    this.#beating = setInterval(beat, heartbeatEvery);
    beat();
  }

  async #register(): Promise<void> {
    const { labels = {} } = this.#options;
    await this.api.create('/api/v1/nodes', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: this.name,
        labels: {
          'kubernetes.io/hostname': this.name,
          'kubernetes.io/os': 'linux',
          'kubernetes.io/arch': 'amd64',
          ...labels,
        },
      },
      spec: {},
    });
  }

  async #heartbeat(): Promise<void> {
    const { memory = '512Gi', cpu = '256' } = this.#options;
    const now = new Date().toISOString();
    const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
    const spec = {
      holderIdentity: this.name,
      leaseDurationSeconds: 40,
      renewTime: now.replace(/Z$/, '000Z'),
    };
    await this.api.patch(`${leases}/${this.name}`, { spec }).catch(async (thrown: unknown) => {
      if (!(thrown instanceof KubernetesAnswer && thrown.status === 404)) throw thrown;
      await this.api.create(leases, { metadata: { name: this.name }, spec });
    });
    const resources = { cpu, memory, pods: '2000', 'ephemeral-storage': '1Ti' };
    await this.api.patch(`/api/v1/nodes/${this.name}/status`, {
      status: {
        capacity: resources,
        allocatable: resources,
        addresses: [
          { type: 'InternalIP', address: '127.0.0.1' },
          { type: 'Hostname', address: this.name },
        ],
        daemonEndpoints: { kubeletEndpoint: { Port: (this.#server.address() as AddressInfo).port } },
        conditions: [
          {
            ...{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'it is faked' },
            ...{ lastHeartbeatTime: now, lastTransitionTime: now },
          },
        ],
      },
    });
  }

  /** The controllers take the taint of a new node away when they have seen that it is ready. */
  async #schedulable(): Promise<void> {
    for (const deadline = Date.now() + 60_000; ; ) {
      const { spec } = await this.api.get(`/api/v1/nodes/${this.name}`);
      if (spec.taints === undefined) return;
      if (Date.now() > deadline)
        throw new Error(`${this.name} keeps its taints: ${JSON.stringify(spec.taints)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.freeze();
    await this.#beat;
    this.api[Symbol.dispose]();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
