/** What is read of the objects of the Kubernetes API, and no more: a field that is absent here is not relied on. */
export interface Metadata {
  readonly name: string;
  readonly uid: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly deletionTimestamp?: string;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

export interface Job {
  readonly metadata: Metadata;
  readonly spec?: { readonly suspend?: boolean };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

export interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly running?: object;
  readonly terminated?: {
    readonly exitCode: number;
    readonly signal?: number;
    readonly reason?: string;
    readonly message?: string;
  };
}

export interface Pod {
  readonly metadata: Metadata;
  readonly spec?: { readonly nodeName?: string };
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly conditions?: readonly Condition[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly state?: ContainerState;
      /** '' until its image is there. */
      readonly imageID?: string;
    }[];
  };
}

export interface Event {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number;
  readonly involvedObject?: { readonly name?: string; readonly uid?: string };
}

export interface List<Item> {
  readonly metadata?: { readonly resourceVersion?: string };
  readonly items: readonly Item[];
}

export function isTrue(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type && condition.status === 'True');
}

/** Complete or Failed stands anywhere among the conditions. */
export function isFinished({ status }: Job): boolean {
  return (
    isTrue(status?.conditions, 'Complete') !== undefined || isTrue(status?.conditions, 'Failed') !== undefined
  );
}

/** The Job a pod belongs to. */
export function jobOf({ metadata: { labels } }: Pod): string | undefined {
  return labels?.['batch.kubernetes.io/job-name'] ?? labels?.['job-name'];
}
