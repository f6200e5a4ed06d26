import { generateKeyPairSync } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serviceFolder } from '../services/service.ts';
import { ApiClient, type Identity } from './api-client.ts';
import { type AuditedCall, auditPolicy, readAuditLog } from './audit-log.ts';
import { findBinaries } from './binaries.ts';
import { type Certificate, CertificateAuthority } from './certificates.ts';
import { Component } from './component.ts';
import { kubeconfig } from './kubeconfig.ts';

export interface ControlPlaneOptions {
  /**
   * Seconds without a heartbeat after which a node is lost, and its pods with it. Default: as everywhere, most of a minute,
   * and pods stay for five more. It needs another node that lives: when all are silent, Kubernetes takes it for its own
   * fault and evicts nothing.
   */
  readonly nodeLostAfter?: number;
  /** More flags for the API server. */
  readonly apiServerFlags?: readonly string[];
}

/**
 * A Kubernetes control plane on the loopback: etcd, API server, controller manager and scheduler, with RBAC, quotas, service
 * accounts and an audit log, and no node (fake-node.ts makes them). Disposing ends the processes and removes the folder.
 */
export class ControlPlane implements AsyncDisposable {
  readonly folder: string;
  readonly authority: CertificateAuthority;
  /** As an administrator. */
  readonly admin: ApiClient;
  /** Of the administrator, for programs that take a file. */
  readonly kubeconfigFile: string;
  readonly #apiServer: Component;
  readonly #others: readonly Component[];
  readonly #clients: ApiClient[];

  private constructor(
    folder: string,
    authority: CertificateAuthority,
    admin: ApiClient,
    apiServer: Component,
    others: readonly Component[],
  ) {
    this.folder = folder;
    this.authority = authority;
    this.admin = admin;
    this.kubeconfigFile = join(folder, 'admin.kubeconfig');
    this.#apiServer = apiServer;
    this.#others = others;
    this.#clients = [admin];
  }

  /** @throws when the programs are not built: ask findBinaries() first */
  static async start(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
    const binaries = findBinaries();
    if ('missing' in binaries) throw new Error(binaries.missing);
    const folder = await serviceFolder('kubernetes');
    const started: Component[] = [];
    const start = async (component: Component): Promise<Component> => {
      started.push(component);
      await component.start();
      return component;
    };
    try {
      const authority = await CertificateAuthority.create(folder);
      const [administrator] = await Promise.all([
        authority.forClient({ user: 'admin', group: 'system:masters' }),
        writeServiceAccountKeys(folder),
        writeFile(join(folder, 'audit-policy.json'), JSON.stringify(auditPolicy)),
      ]);
      const etcd = await start(etcdIn(folder));
      const apiServer = await start(
        await apiServerIn({
          binaries: binaries.folder,
          folder,
          authority,
          etcd: etcd.port,
          administrator,
          options,
        }),
      );
      const url = `https://127.0.0.1:${apiServer.port}`;
      const admin = new ApiClient({ url, authority: authority.pem, identity: administrator });
      const place = { binaries: binaries.folder, folder, authority, url, admin, options };
      await writeFile(
        join(folder, 'admin.kubeconfig'),
        kubeconfig({ url, authority: authority.pem, identity: administrator }),
      );
      const others = await Promise.all([
        controllerManagerIn(place).then(start),
        schedulerIn(place).then(start),
      ]);
      return new ControlPlane(folder, authority, admin, apiServer, [...others, etcd]);
    } catch (thrown) {
      for (const component of started.reverse()) await component.stop('SIGKILL');
      await rm(folder, { recursive: true, force: true });
      throw thrown;
    }
  }

  get port(): number {
    return this.#apiServer.port;
  }

  /** host:port, as executors are configured with. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `https://${this.host}`;
  }

  /** The API server as somebody sees it, or nobody. */
  clientOf(identity?: Identity): ApiClient {
    const client = new ApiClient({
      url: this.url,
      authority: this.authority.pem,
      ...(identity === undefined ? {} : { identity }),
    });
    this.#clients.push(client);
    return client;
  }

  /** A token of a service account that is there. It ends with the account. */
  async tokenOf(namespace: string, account: string): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
    const { status } = await this.admin.create(path, { spec: { expirationSeconds: 3600 } });
    return (status as { token: string }).token;
  }

  /** `SIGTERM`: in order, after the answers that are on their way; `SIGKILL`: at once. */
  async stopApiServer(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#apiServer.stop(signal);
  }

  /** Again, with the same data on the same port. */
  async startApiServer(): Promise<void> {
    await this.#apiServer.start();
  }

  /** What was called and by whom, in the order of the answers. */
  audit(): readonly AuditedCall[] {
    return readAuditLog(join(this.folder, 'audit.log'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client[Symbol.dispose]();
    // Nothing of it is needed any more, so nobody waits for an orderly end.
    for (const component of [...this.#others, this.#apiServer]) await component.stop('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }
}

function etcdIn(folder: string): Component {
  return new Component({
    program: 'etcd',
    folder,
    ports: 2,
    args: ([client, peer]) => [
      ...['--name', 'test', '--data-dir', join(folder, 'etcd'), '--logger', 'zap'],
      ...['--listen-client-urls', `http://127.0.0.1:${client}`],
      ...['--advertise-client-urls', `http://127.0.0.1:${client}`],
      ...['--listen-peer-urls', `http://127.0.0.1:${peer}`],
      ...['--initial-advertise-peer-urls', `http://127.0.0.1:${peer}`],
      ...['--initial-cluster', `test=http://127.0.0.1:${peer}`],
    ],
    probe: async ([client]) => await answers(fetch(`http://127.0.0.1:${client}/health`)),
  });
}

async function answers(call: Promise<unknown>): Promise<boolean> {
  return await call.then(
    () => true,
    () => false,
  );
}

async function writeServiceAccountKeys(folder: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(join(folder, 'service-account.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await writeFile(join(folder, 'service-account.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
}

interface ApiServerPlace {
  readonly binaries: string;
  readonly folder: string;
  readonly authority: CertificateAuthority;
  readonly etcd: number;
  readonly administrator: Certificate;
  readonly options: ControlPlaneOptions;
}

async function apiServerIn({
  binaries,
  folder,
  authority,
  etcd,
  administrator,
  options: { nodeLostAfter, apiServerFlags = [] },
}: ApiServerPlace): Promise<Component> {
  const server = await authority.forServer('kube-apiserver', ['DNS:kubernetes.default.svc', 'IP:10.96.0.1']);
  const kubelet = await authority.forClient({ user: 'kube-apiserver', group: 'system:masters' });
  const key = (extension: string) => join(folder, `service-account.${extension}`);
  return new Component({
    program: join(binaries, 'kube-apiserver'),
    folder,
    args: ([port]) => [
      `--etcd-servers=http://127.0.0.1:${etcd}`,
      ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', `--secure-port=${port}`],
      `--tls-cert-file=${server.certificateFile}`,
      `--tls-private-key-file=${server.keyFile}`,
      `--client-ca-file=${authority.file}`,
      ...['--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction'],
      '--allow-privileged=true',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${key('pub')}`,
      `--service-account-signing-key-file=${key('key')}`,
      '--service-cluster-ip-range=10.96.0.0/24',
      // A loopback address is no endpoint of a service.
      '--endpoint-reconciler-type=none',
      `--audit-policy-file=${join(folder, 'audit-policy.json')}`,
      `--audit-log-path=${join(folder, 'audit.log')}`,
      `--kubelet-client-certificate=${kubelet.certificateFile}`,
      `--kubelet-client-key=${kubelet.keyFile}`,
      `--kubelet-certificate-authority=${authority.file}`,
      '--kubelet-preferred-address-types=InternalIP',
      ...(nodeLostAfter === undefined
        ? []
        : ['--default-not-ready-toleration-seconds=0', '--default-unreachable-toleration-seconds=0']),
      ...apiServerFlags,
    ],
    probe: async ([port]) => {
      using client = new ApiClient({
        url: `https://127.0.0.1:${port}`,
        authority: authority.pem,
        identity: administrator,
      });
      return await answers(client.text('GET', '/readyz'));
    },
  });
}

interface Place {
  readonly binaries: string;
  readonly folder: string;
  readonly authority: CertificateAuthority;
  readonly url: string;
  readonly admin: ApiClient;
  readonly options: ControlPlaneOptions;
}

/** Flags of a part that is a client of the API server, and whose own port only says how it is. */
async function commonFlags({ folder, authority, url }: Place, user: string): Promise<readonly string[]> {
  const [identity, server] = await Promise.all([authority.forClient({ user }), authority.forServer(user)]);
  const file = join(folder, `${user.replaceAll(':', '-')}.kubeconfig`);
  await writeFile(file, kubeconfig({ url, authority: authority.pem, identity }));
  return [
    ...[`--kubeconfig=${file}`, `--authentication-kubeconfig=${file}`, `--authorization-kubeconfig=${file}`],
    '--bind-address=127.0.0.1',
    ...[`--tls-cert-file=${server.certificateFile}`, `--tls-private-key-file=${server.keyFile}`],
    // One is enough, and one that lost its lease while the API server was away would end itself.
    '--leader-elect=false',
    // The limits of a default installation are for clusters that others use too.
    ...['--kube-api-qps=1000', '--kube-api-burst=2000'],
  ];
}

async function controllerManagerIn(place: Place): Promise<Component> {
  const { binaries, folder, authority, admin, options } = place;
  const flags = await commonFlags(place, 'system:kube-controller-manager');
  const { nodeLostAfter } = options;
  return new Component({
    program: join(binaries, 'kube-controller-manager'),
    folder,
    args: ([port]) => [
      ...flags,
      `--secure-port=${port}`,
      `--service-account-private-key-file=${join(folder, 'service-account.key')}`,
      `--root-ca-file=${authority.file}`,
      '--use-service-account-credentials=true',
      ...(nodeLostAfter === undefined
        ? []
        : [
            `--node-monitor-grace-period=${nodeLostAfter}s`,
            '--node-monitor-period=1s',
            '--node-eviction-rate=10',
          ]),
    ],
    // What pods need before they can be made in a namespace, and its controllers make.
    probe: async () =>
      (await answers(admin.get('/api/v1/namespaces/default/serviceaccounts/default'))) &&
      (await answers(admin.get('/api/v1/namespaces/default/configmaps/kube-root-ca.crt'))),
  });
}

async function schedulerIn(place: Place): Promise<Component> {
  const { binaries, folder, authority } = place;
  const flags = await commonFlags(place, 'system:kube-scheduler');
  return new Component({
    program: join(binaries, 'kube-scheduler'),
    folder,
    args: ([port]) => [...flags, `--secure-port=${port}`],
    probe: async ([port]) => {
      using client = new ApiClient({ url: `https://127.0.0.1:${port}`, authority: authority.pem });
      return await answers(client.text('GET', '/readyz'));
    },
  });
}
