import type { KubernetesObject } from './api-client.ts';

/**
 * What a kubelet makes of a pod. A pod that is to stay unscheduled is none of them: ask for a node that is not there, or
 * cordon the one that is.
 */
export type PodState =
  /** It has a node, and its container does not come up. */
  | { readonly kind: 'creating' }
  | { readonly kind: 'running' }
  | { readonly kind: 'succeeded' }
  /** `message` is what the program left in /dev/termination-log. */
  | { readonly kind: 'failed'; readonly exitCode: number; readonly message?: string }
  | { readonly kind: 'oom-killed' }
  | { readonly kind: 'evicted'; readonly message?: string }
  | { readonly kind: 'image-pull-back-off'; readonly message?: string }
  | { readonly kind: 'config-error'; readonly message: string };

/** The pod's status in that state, as kubelets write it, as a merge patch for the status that is there. */
export function statusOf(pod: KubernetesObject, state: PodState, now = new Date()): object {
  const time = now.toISOString().replace(/\.\d+Z$/, 'Z');
  const before = pod.status ?? {};
  const begun = before.startTime ?? time;
  const startedAt = before.containerStatuses?.[0]?.state?.running?.startedAt ?? time;
  const ended = (exitCode: number, reason: string, message?: string) => ({
    terminated: {
      ...{ exitCode, reason, startedAt, finishedAt: time, containerID: `test://${pod.metadata.uid}` },
      ...(message === undefined ? {} : { message }),
    },
  });
  const status = (phase: string, container: object | undefined, more: object = {}) => {
    const ready = phase === 'Running';
    const over = phase === 'Succeeded' || phase === 'Failed';
    const condition = (type: string, holds: boolean) => ({
      ...{ type, status: holds ? 'True' : 'False', lastTransitionTime: time },
      ...(over && !holds ? { reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed' } : {}),
    });
    const mine = [
      condition('Initialized', true),
      condition('ContainersReady', ready),
      condition('Ready', ready),
    ];
    const others = ((before.conditions ?? []) as { type: string }[]).filter(
      ({ type }) => !mine.some((own) => own.type === type),
    );
    return {
      status: {
        ...{ phase, startTime: begun, hostIP: '127.0.0.1', hostIPs: [{ ip: '127.0.0.1' }] },
        conditions: [...others, ...mine],
        ...more,
        containerStatuses:
          container === undefined
            ? []
            : pod.spec.containers.map(({ name, image }: { name: string; image: string }) => ({
                ...{ name, image, imageID: ready || over ? `test://${image}` : '', restartCount: 0 },
                ...{ ready, started: ready, state: container },
              })),
      },
    };
  };
  const waiting = (reason: string, message?: string) =>
    status('Pending', { waiting: { reason, ...(message === undefined ? {} : { message }) } });
  switch (state.kind) {
    case 'creating':
      return waiting('ContainerCreating');
    case 'running':
      return status('Running', { running: { startedAt } });
    case 'succeeded':
      return status('Succeeded', ended(0, 'Completed'));
    case 'failed':
      return status('Failed', ended(state.exitCode, 'Error', state.message));
    case 'oom-killed':
      return status('Failed', ended(137, 'OOMKilled'));
    case 'evicted':
      return status('Failed', undefined, {
        reason: 'Evicted',
        message: state.message ?? 'The node was low on resource: memory.',
      });
    case 'image-pull-back-off':
      return waiting(
        'ImagePullBackOff',
        state.message ?? `Back-off pulling image "${pod.spec.containers[0].image}"`,
      );
    case 'config-error':
      return waiting('CreateContainerConfigError', state.message);
  }
}

export function isOver(pod: KubernetesObject): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}
