import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import type { ExecutorError } from '../../src/executor/executor-error.ts';
import { openConnection } from '../../src/executor/kubernetes/connection.ts';
import {
  KubernetesExecutor,
  type KubernetesExecutorOptions,
} from '../../src/executor/kubernetes/kubernetes-executor.ts';
import { identityLabels, selectorOf } from '../../src/executor/kubernetes/labels.ts';
import type { KubernetesSettings } from '../../src/executor/kubernetes/settings.ts';
import type { KubernetesObject } from './api-client.ts';
import { ControlPlane, type ControlPlaneOptions } from './control-plane.ts';
import { FakeKubelet } from './fake-kubelet.ts';
import type { PodState } from './pod-state.ts';

export const namespace = 'builder';
export const account = 'system:serviceaccount:builder:slipway';
export const patient = { timeout: 60_000, interval: 50 };

/** Again and again until it does not throw; the benchmark, which is no test, waits by it too. */
export async function patiently<T>(
  act: () => T | Promise<T>,
  { timeout, interval }: { readonly timeout: number; readonly interval: number } = patient,
): Promise<T> {
  for (const end = performance.now() + timeout; ; ) {
    try {
      return await act();
    } catch (thrown) {
      if (performance.now() > end) throw thrown;
      await sleep(interval);
    }
  }
}

/** Files of the documentation, as they stand there. */
export function manual(...files: readonly string[]): string {
  const folder = join(import.meta.dirname, '../../docs/kubernetes');
  return files.map((file) => readFileSync(join(folder, file), 'utf8')).join('\n---\n');
}

const settings: KubernetesSettings = {
  type: 'kubernetesPodman',
  name: 'cluster',
  distribution: 'k8s',
  namespace,
  image: 'registry.test/worker:1',
  imagePullPolicy: 'Always',
  imagePullSecret: 'builder',
  serviceAccount: 'quay-builder-sa',
  dnsPolicy: 'Default',
  maximumJobTime: 7_200_000,
  retentionAfterFinished: 120_000,
  nodeSelector: undefined,
  memoryRequest: '1Mi',
  memoryLimit: '5120Mi',
  cpuRequest: '1m',
  cpuLimit: '1000m',
  runtimeClass: undefined,
  priorityClass: undefined,
  tolerations: [],
  nodeAffinity: [],
  appArmorProfile: undefined,
  hostUsers: true,
  seccompProfile: undefined,
  vmMemory: '4G',
  volumeSize: '32G',
  authorities: ['-----BEGIN CERTIFICATE-----'],
  proxies: { HTTPS_PROXY: 'http://user:proxy-password-9f2c@proxy.test:3128' },
  containerRuntime: 'podman',
  debug: false,
  setupTime: 500_000,
};

export interface ExecutorChoice {
  readonly settings?: Partial<KubernetesSettings>;
  readonly site?: string;
  readonly manager?: string;
  /** host:port; default: the API server itself. */
  readonly server?: string;
  readonly token?: () => string;
  readonly ca?: string;
  readonly options?: Partial<KubernetesExecutorOptions>;
}

/**
 * A control plane set up as the documentation says, and a node whose pods do what the token of their order says:
 * `run`, `wait`, `exit-N`.
 */
export class Cluster implements AsyncDisposable {
  readonly plane: ControlPlane;
  readonly kubelet: FakeKubelet;
  readonly token: string;
  readonly troubles: (ExecutorError | undefined)[] = [];
  readonly #executors: KubernetesExecutor[] = [];
  #names = 0;

  private constructor(plane: ControlPlane, kubelet: FakeKubelet, token: string) {
    this.plane = plane;
    this.kubelet = kubelet;
    this.token = token;
  }

  static async start(options: ControlPlaneOptions = {}): Promise<Cluster> {
    const plane = await ControlPlane.start(options);
    try {
      const files = [
        'namespace.yaml',
        'service-accounts.yaml',
        'role.yaml',
        'role-binding.yaml',
        'token.yaml',
      ];
      await plane.admin.apply(manual(...files));
      const token = await patiently(async () => {
        const secret = await plane.admin.get(`/api/v1/namespaces/${namespace}/secrets/slipway-token`);
        return Buffer.from((secret.data as { readonly token: string }).token, 'base64').toString();
      });
      let own: FakeKubelet | undefined;
      const kubelet = await FakeKubelet.join(plane, {
        plan: (pod) => {
          setImmediate(() => void obey(own, pod).catch(() => {}));
          return { kind: 'creating' };
        },
      });
      own = kubelet;
      return new Cluster(plane, kubelet, token);
    } catch (thrown) {
      await plane[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** Each has a name of its own unless one is given, and so its own workers. */
  executor(choice: ExecutorChoice = {}): KubernetesExecutor {
    this.#names += 1;
    const executor = new KubernetesExecutor({
      settings: { ...settings, name: `cluster-${this.#names}`, ...choice.settings },
      maker: {
        manager: choice.manager ?? 'manager-1',
        version: '0.1.0',
        site: choice.site ?? 'builds.example.com',
      },
      connection: openConnection({
        server: choice.server ?? this.plane.host,
        kubeconfig: undefined,
        ca: choice.ca ?? this.plane.authority.file,
        certificate: undefined,
        verifyTls: true,
        token: choice.token ?? (() => this.token),
        tokenFile: undefined,
      }),
      timeout: 20_000,
      userData: ({ token }) => JSON.stringify({ ignition: { version: '3.0.0' }, token }),
      clock: systemClock,
      onTrouble: (trouble) => this.troubles.push(trouble),
      ...choice.options,
    });
    this.#executors.push(executor);
    return executor;
  }

  async jobs(selector = 'slipway-attempt'): Promise<readonly KubernetesObject[]> {
    const path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
    return await this.plane.admin.list(`${path}?labelSelector=${encodeURIComponent(selector)}`);
  }

  async pods(selector = 'slipway-attempt'): Promise<readonly KubernetesObject[]> {
    const path = `/api/v1/namespaces/${namespace}/pods`;
    return await this.plane.admin.list(`${path}?labelSelector=${encodeURIComponent(selector)}`);
  }

  async secrets(selector = 'slipway-attempt'): Promise<readonly KubernetesObject[]> {
    const path = `/api/v1/namespaces/${namespace}/secrets`;
    return await this.plane.admin.list(`${path}?labelSelector=${encodeURIComponent(selector)}`);
  }

  /** The pod of an order once its node has it. */
  async podOf({ attemptId }: Pick<WorkerOrder, 'attemptId'>): Promise<KubernetesObject> {
    return await patiently(() => {
      const pod = this.kubelet.pods.find(
        ({ metadata }) => metadata.labels?.['slipway-attempt'] === attemptId,
      );
      if (pod === undefined) throw new Error('its node has no pod yet');
      return pod;
    });
  }

  async set(order: Pick<WorkerOrder, 'attemptId'>, state: PodState): Promise<void> {
    await this.kubelet.set((await this.podOf(order)).metadata.name, state);
  }

  /** Fails unless everything that an executor made is gone. */
  async nothingLeft(executor: KubernetesExecutor, site = 'builds.example.com'): Promise<void> {
    const selector = selectorOf(identityLabels(executor, { site }));
    await patiently(async () => {
      const left = [
        ...(await this.jobs(selector)),
        ...(await this.pods(selector)),
        ...(await this.secrets(selector)),
      ];
      if (left.length > 0) throw new Error(`left behind: ${left.map(nameOf).join(', ')}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const executor of this.#executors) await executor.close();
    await this.kubelet[Symbol.asyncDispose]();
    await this.plane[Symbol.asyncDispose]();
  }
}

export function nameOf({ metadata }: KubernetesObject): string {
  return metadata.name;
}

async function obey(kubelet: FakeKubelet | undefined, { metadata }: KubernetesObject): Promise<void> {
  if (kubelet === undefined) return;
  const { TOKEN, USERDATA } = await environmentOf(kubelet, metadata.name);
  const token = TOKEN ?? (JSON.parse(USERDATA ?? '{}') as { readonly token?: string }).token ?? '';
  if (token === 'wait') return;
  await kubelet.set(metadata.name, { kind: 'running' });
  const [, code] = /^exit-(\d+)$/.exec(token) ?? [];
  if (code === undefined) return;
  await kubelet.set(
    metadata.name,
    code === '0' ? { kind: 'succeeded' } : { kind: 'failed', exitCode: Number(code) },
  );
}

/** As a kubelet does, it asks again when a Secret is not there yet. */
async function environmentOf(
  kubelet: FakeKubelet,
  pod: string,
): Promise<Readonly<Record<string, string | undefined>>> {
  for (let n = 0; ; n += 1) {
    try {
      return await kubelet.environmentOf(pod);
    } catch (thrown) {
      if (n === 50) throw thrown;
      await sleep(100);
    }
  }
}
