import { setTimeout as sleep } from 'node:timers/promises';
import { KubernetesAnswer, type KubernetesObject } from './api-client.ts';
import type { ControlPlane } from './control-plane.ts';
import { FakeNode, type FakeNodeOptions } from './fake-node.ts';
import { podEnvironment } from './pod-environment.ts';
import { isOver, type PodState, statusOf } from './pod-state.ts';

export interface FakeKubeletOptions extends FakeNodeOptions {
  /** What becomes of a pod that is scheduled here. Default: it runs. */
  readonly plan?: (pod: KubernetesObject) => PodState;
  /** Milliseconds that a pod takes to end when it is deleted. Default: none. */
  readonly dying?: number;
}

interface Charge {
  pod: KubernetesObject;
  wanted: PodState;
  /** Patches of one pod follow each other. Resolves with why the last one was refused. */
  work: Promise<unknown>;
  ending: boolean;
}

/**
 * What a kubelet does for the pods of its node, without containers: it says of each pod what the test says of it, and
 * removes those that were deleted. Everything else (counting, retrying, deleting, lost nodes) is done by the real
 * controllers.
 */
export class FakeKubelet implements AsyncDisposable {
  readonly node: FakeNode;
  readonly #options: FakeKubeletOptions;
  /** By uid. */
  readonly #charges = new Map<string, Charge>();
  readonly #over = new AbortController();
  #watching: Promise<void> = Promise.resolve();
  #frozen = false;

  private constructor(node: FakeNode, options: FakeKubeletOptions) {
    this.node = node;
    this.#options = options;
  }

  static async join(plane: ControlPlane, options: FakeKubeletOptions = {}): Promise<FakeKubelet> {
    const kubelet = new FakeKubelet(await FakeNode.join(plane, options), options);
    kubelet.#watching = kubelet.#watch();
    return kubelet;
  }

  /** Pods of this node, as last seen. */
  get pods(): readonly KubernetesObject[] {
    return [...this.#charges.values()].map(({ pod }) => pod);
  }

  /** Resolves when the API server knows. @throws when no such pod is here */
  async set(name: string, state: PodState): Promise<void> {
    const charge = this.#chargeOf(name);
    charge.wanted = state;
    this.#carryOut(charge, true);
    const refusal = await charge.work;
    if (refusal !== undefined) throw refusal;
  }

  /** What a container of this pod would find in its environment: the values, and what Secrets and ConfigMaps say. */
  async environmentOf(name: string): Promise<Readonly<Record<string, string>>> {
    return await podEnvironment(this.node.api, this.#chargeOf(name).pod);
  }

  /** The node is as good as dead from now on: no heartbeat, nothing happens to pods. */
  freeze(): void {
    this.#frozen = true;
    this.node.freeze();
  }

  thaw(): void {
    this.#frozen = false;
    this.node.thaw();
    for (const charge of this.#charges.values()) this.#carryOut(charge, true);
  }

  #chargeOf(name: string): Charge {
    const charge = [...this.#charges.values()].find(({ pod }) => pod.metadata.name === name);
    if (charge === undefined) throw new Error(`${this.node.name} has no pod ${name}`);
    return charge;
  }

  /** Lists, then watches, and again from the beginning when the watch ends, as the API server may at any time. */
  async #watch(): Promise<void> {
    const path = `/api/v1/pods?fieldSelector=spec.nodeName%3D${this.node.name}`;
    const { signal } = this.#over;
    while (!signal.aborted) {
      try {
        const { items, metadata } = await this.node.api.call('GET', path, { signal });
        const present = new Set<string | undefined>();
        for (const pod of items as KubernetesObject[]) {
          present.add(pod.metadata.uid);
          this.#see(pod);
        }
        for (const uid of this.#charges.keys()) if (!present.has(uid)) this.#charges.delete(uid);
        const since = `${path}&resourceVersion=${metadata.resourceVersion}`;
        for await (const { type, object } of this.node.api.watch(since, signal)) {
          if (type === 'ERROR') break;
          if (type === 'DELETED') this.#charges.delete(object.metadata.uid ?? '');
          else this.#see(object);
        }
      } catch {
        // The API server is away, or this is the end.
        await sleep(100, undefined, { signal }).catch(() => {});
      }
    }
  }

  #see(pod: KubernetesObject): void {
    const uid = pod.metadata.uid ?? '';
    const known = this.#charges.get(uid);
    if (known !== undefined) {
      known.pod = pod;
      if (pod.metadata.deletionTimestamp !== undefined) this.#carryOut(known, false);
      return;
    }
    const wanted = this.#options.plan?.(pod) ?? { kind: 'running' };
    const charge: Charge = { pod, wanted, work: Promise.resolve(undefined), ending: false };
    this.#charges.set(uid, charge);
    this.#carryOut(charge, true);
  }

  #carryOut(charge: Charge, changed: boolean): void {
    if (this.#frozen) return;
    const deleted = charge.pod.metadata.deletionTimestamp !== undefined;
    if (deleted ? charge.ending : !changed) return;
    charge.ending = deleted;
    charge.work = charge.work.then(() =>
      this.#persist(() => (deleted ? this.#end(charge) : this.#patch(charge, charge.wanted))),
    );
  }

  /** Again until the API server has heard it; resolves with the reason when it refuses for good. */
  async #persist(act: () => Promise<void>): Promise<unknown> {
    const { signal } = this.#over;
    while (!signal.aborted && !this.#frozen) {
      try {
        await act();
        return undefined;
      } catch (thrown) {
        const status = thrown instanceof KubernetesAnswer ? thrown.status : 503;
        // Gone meanwhile, or another one of that name.
        if (status === 404 || status === 409) return undefined;
        if (status < 500 && status !== 429) return thrown;
        await sleep(100, undefined, { signal }).catch(() => {});
      }
    }
    return undefined;
  }

  async #patch({ pod }: Charge, state: PodState): Promise<void> {
    const patch = statusOf(pod, state);
    await this.node.api.patch(`${pathOf(pod)}/status`, { metadata: { uid: pod.metadata.uid }, ...patch });
  }

  async #end(charge: Charge): Promise<void> {
    const { dying = 0 } = this.#options;
    await sleep(dying, undefined, { signal: this.#over.signal }).catch(() => {});
    if (this.#over.signal.aborted) return;
    if (!isOver(charge.pod)) await this.#patch(charge, { kind: 'failed', exitCode: 137 });
    await this.node.api.delete(pathOf(charge.pod), {
      gracePeriodSeconds: 0,
      preconditions: { uid: charge.pod.metadata.uid },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#watching;
    await Promise.all([...this.#charges.values()].map(({ work }) => work));
    await this.node[Symbol.asyncDispose]();
  }
}

function pathOf({ metadata: { namespace, name } }: KubernetesObject): string {
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}
