import type { WorkerOrder } from '../executor.ts';

/** One entry of EXECUTORS of type kubernetes or kubernetesPodman. Times are milliseconds; sizes Kubernetes quantities. */
export interface KubernetesSettings {
  readonly type: 'kubernetes' | 'kubernetesPodman';
  readonly name: string;
  readonly distribution: 'openshift' | 'k8s' | 'basic';
  readonly namespace: string;
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly imagePullSecret: string;
  /** Of the pods, on OpenShift. */
  readonly serviceAccount: string;
  readonly dnsPolicy: string;
  readonly maximumJobTime: number;
  readonly retentionAfterFinished: number;
  readonly nodeSelector: { readonly key: string; readonly value: string } | undefined;
  readonly memoryRequest: string;
  readonly memoryLimit: string;
  readonly cpuRequest: string;
  readonly cpuLimit: string;
  readonly runtimeClass: string | undefined;
  readonly priorityClass: string | undefined;
  /** See model/node-placement.ts. */
  readonly tolerations: readonly string[];
  readonly nodeAffinity: readonly string[];
  /** `Unconfined`, `RuntimeDefault`, or the name of a profile on the node. Undefined: what goes with the seccomp profile. */
  readonly appArmorProfile: string | undefined;
  /** False: the pod has a user namespace of its own. */
  readonly hostUsers: boolean;
  /** `Unconfined`, `RuntimeDefault`, or the path of a profile on the node. Undefined: what rootless building needs. */
  readonly seccompProfile: string | undefined;
  /** Memory and disk of the virtual machine; `kubernetes` only. */
  readonly vmMemory: string | undefined;
  readonly volumeSize: string;
  /** PEM texts that rootless workers trust. */
  readonly authorities: readonly string[];
  readonly proxies: Readonly<Record<string, string>>;
  readonly containerRuntime: 'docker' | 'podman';
  /** Jobs are kept after their build. */
  readonly debug: boolean;
  /** SETUP_TIME */
  readonly setupTime: number;
}

/** Who made a Job: this manager's host, its version, and the Slipway that all managers of one database are. */
export interface JobMaker {
  readonly manager: string;
  readonly version: string;
  /** Tells this Slipway's Jobs from those of another one in the same namespace. */
  readonly site: string;
}

/** The ignition config of a virtual machine that carries out an order. */
export type UserData = (order: WorkerOrder) => string;
