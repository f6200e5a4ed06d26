import type { WorkerOrder } from './executor.ts';

export interface WorkerPlaces {
  readonly executor: string;
  readonly workspace: string;
  readonly temporary: string;
}

/** By this every process of an attempt can be told, also after the worker itself is gone. */
export function attemptMarker(attemptId: string): string {
  return `SLIPWAY_ATTEMPT=${attemptId}`;
}

/**
 * A worker's whole environment: what the configuration gives every worker, and what this order adds. Nothing of the
 * server's own environment is in it. The names are the ones workers of this protocol share.
 */
export function workerEnvironment(
  fixed: Readonly<Record<string, string>>,
  order: WorkerOrder,
  { executor, workspace, temporary }: WorkerPlaces,
): Record<string, string> {
  const isolation = fixed.BUILDAH_ISOLATION;
  return {
    LANG: 'C.UTF-8',
    ...fixed,
    // One worker of this protocol reads the misspelt name.
    ...(isolation === undefined ? {} : { BULDAH_ISOLATION: isolation }),
    SERVER: order.server,
    INSECURE: String(!order.serverTls),
    BUILD_UUID: order.buildId,
    REGISTRY_HOSTNAME: order.registryHost,
    EXECUTOR: executor,
    TMPDIR: temporary,
    SLIPWAY_WORKSPACE: workspace,
    SLIPWAY_ATTEMPT: order.attemptId,
  };
}
