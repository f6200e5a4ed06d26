import type { StartStep } from '../executor.ts';
import { brief, isAdmission, isQuota } from './api-error.ts';
import { type ContainerState, isTrue, type Job, type Pod } from './objects.ts';

/** How a worker is by what its Job and its pod say. */
export type Verdict =
  /** `why`: what keeps it from running, if anything is said; it is over when that takes too long. */
  | { readonly kind: 'starting'; readonly why?: Wait }
  | { readonly kind: 'running' }
  | {
      readonly kind: 'gone';
      readonly exitCode?: number;
      readonly signal?: string;
      readonly reason: string;
      /** Whether events and log are worth asking for. */
      readonly ask: 'log' | 'log-and-events' | 'events' | 'nothing';
    };

export interface Wait {
  /** `image`: what is wrong seldom mends itself. `place`: it may take as long as a worker may take to start. */
  readonly kind: 'image' | 'place';
  readonly reason: string;
}

/** Seconds, by the names that messages use. */
export interface VerdictLimits {
  readonly maximumJobTime: number;
  readonly memoryLimit: string;
}

/**
 * Pure. `refusals`: what the cluster said why it makes no pod of the Job (its FailedCreate event).
 *
 * | pod                                   | Job               | verdict                              |
 * |---------------------------------------|-------------------|--------------------------------------|
 * | its container has ended               | any               | gone, with the container's status    |
 * | failed, or being deleted              | any               | gone: evicted, node lost, …          |
 * | runs                                  | not over          | running                              |
 * | waits                                 | not over          | starting, with what it waits for     |
 * | none                                  | over              | gone, as the Job says                |
 * | none                                  | not over          | starting, or gone when not admitted  |
 */
export function verdictOf(
  job: Job,
  pod: Pod | undefined,
  limits: VerdictLimits,
  refusal: string | undefined,
): Verdict {
  const failed = isTrue(job.status?.conditions, 'Failed') ?? isTrue(job.status?.conditions, 'FailureTarget');
  if (failed?.reason === 'DeadlineExceeded')
    return gone(
      `The worker was ended because its Job ran longer than MAXIMUM_JOB_TIME allows (${limits.maximumJobTime} s).`,
      'events',
    );
  const ended = pod === undefined ? undefined : endOf(pod, limits);
  if (ended !== undefined) return ended;
  if (failed !== undefined)
    return gone(
      `The pod of the worker is not there any more: it was deleted by somebody else than Slipway, or by its node (${detail(failed.reason, failed.message)}).`,
      'events',
    );
  if (isTrue(job.status?.conditions, 'Complete') !== undefined)
    return { ...gone('The worker exited with status 0.', 'nothing'), exitCode: 0 };
  if (job.metadata.deletionTimestamp !== undefined)
    return gone('The Job of the worker is being deleted, and not by Slipway.', 'nothing');
  if (pod === undefined) return withoutPod(refusal);
  if (pod.status?.phase === 'Running') return { kind: 'running' };
  return waiting(pod);
}

function gone(
  reason: string,
  ask: Extract<Verdict, { kind: 'gone' }>['ask'],
): Extract<Verdict, { kind: 'gone' }> {
  return { kind: 'gone', reason, ask };
}

function endOf(pod: Pod, { memoryLimit }: VerdictLimits): Verdict | undefined {
  const { status, metadata, spec } = pod;
  const disruption = isTrue(status?.conditions, 'DisruptionTarget');
  const over = status?.phase === 'Failed' || metadata.deletionTimestamp !== undefined;
  if (status?.reason === 'Evicted')
    return gone(
      `The node evicted the worker (Evicted: ${brief(status.message ?? 'no reason given')}).`,
      'events',
    );
  // Its phase is Unknown then, for as long as nobody hears of the node.
  if (status?.reason === 'NodeLost') return gone(lost(spec?.nodeName, status.message), 'log-and-events');
  if (over && disruption !== undefined)
    return gone(disrupted(disruption.reason, disruption.message, spec?.nodeName), 'events');
  const terminated = stateOf(pod)?.terminated;
  if (terminated !== undefined) return ofContainer(terminated, memoryLimit);
  if (status?.phase === 'Failed')
    return gone(`The node ended the worker (${detail(status.reason, status.message)}).`, 'log-and-events');
  if (status?.phase === 'Succeeded')
    return { ...gone('The worker exited with status 0.', 'log'), exitCode: 0 };
  if (metadata.deletionTimestamp !== undefined)
    return gone(
      'The pod of the worker was deleted by somebody else than Slipway (its node drained, or by hand).',
      'events',
    );
  return undefined;
}

function ofContainer(
  { exitCode, signal, reason, message }: NonNullable<ContainerState['terminated']>,
  memoryLimit: string,
): Verdict {
  if (reason === 'OOMKilled')
    return {
      ...gone(
        `The worker was ended for using more memory than it may (OOMKilled, limit ${memoryLimit}). Raise CONTAINER_MEMORY_LIMITS, or make the build need less.`,
        'log-and-events',
      ),
      exitCode,
      signal: 'SIGKILL',
    };
  if (reason === 'DeadlineExceeded')
    return { ...gone('The worker was ended because its time was up.', 'events'), exitCode };
  const named =
    reason === undefined || reason === 'Error' || reason === 'Completed'
      ? ''
      : ` (${detail(reason, message)})`;
  const bySignal = signal ?? (exitCode > 128 && exitCode < 160 ? exitCode - 128 : undefined);
  return {
    ...gone(
      `The worker exited with status ${exitCode}${named}${bySignal === undefined ? '' : `, ended by signal ${bySignal}`}.`,
      exitCode === 0 ? 'log' : 'log-and-events',
    ),
    exitCode,
  };
}

function disrupted(
  reason: string | undefined,
  message: string | undefined,
  node: string | undefined,
): string {
  switch (reason) {
    case 'DeletionByTaintManager':
    case 'DeletionByPodGC':
      return lost(node, message);
    case 'PreemptionByScheduler':
      return `The worker was ended to make room for a pod of higher priority (Preempted: ${brief(message ?? '')}). Set PRIORITY_CLASS.`;
    case 'EvictionByEvictionAPI':
      return `The worker was evicted (Evicted: ${brief(message ?? 'its node is drained')}).`;
    default:
      return `The worker was ended by its node (Evicted, ${detail(reason, message)}).`;
  }
}

function lost(node: string | undefined, message: string | undefined): string {
  return `The node of the worker was lost (node ${node ?? 'unknown'}${message === undefined ? '' : `: ${brief(message)}`}).`;
}

function detail(reason: string | undefined, message: string | undefined): string {
  const said = [reason, message].filter((part) => part !== undefined && part !== '').join(': ');
  return said === '' ? 'no reason given' : brief(said);
}

/** The steps that the worker of a pod has behind it. */
export function stepsOf(pod: Pod): readonly StartStep[] {
  const builder = builderOf(pod);
  const begun = builder?.state?.running !== undefined || builder?.state?.terminated !== undefined;
  if (begun || (builder?.imageID ?? '') !== '') return ['scheduled', 'image-pulled'];
  return isTrue(pod.status?.conditions, 'PodScheduled') === undefined ? [] : ['scheduled'];
}

function builderOf({ status }: Pod) {
  return status?.containerStatuses?.find(({ name }) => name === 'builder');
}

function stateOf(pod: Pod): ContainerState | undefined {
  return builderOf(pod)?.state;
}

/** An image's name does not become right by waiting. */
const hopeless = new Set(['InvalidImageName', 'ErrImageNeverPull']);
const unlikely = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
]);

function waiting(pod: Pod): Verdict {
  const { reason = '', message } = stateOf(pod)?.waiting ?? {};
  const image = `The image of the worker cannot be run (${detail(reason, message)}). Check the image's name and IMAGE_PULL_SECRET_NAME.`;
  if (hopeless.has(reason)) return gone(image, 'nothing');
  if (unlikely.has(reason))
    return {
      kind: 'starting',
      why: {
        kind: 'image',
        reason: reason.includes('ontainer')
          ? `The container of the worker cannot be started (${detail(reason, message)}).`
          : image,
      },
    };
  const unscheduled = pod.status?.conditions?.find(
    ({ type, status, reason: why }) => type === 'PodScheduled' && status === 'False' && why !== undefined,
  );
  if (unscheduled !== undefined)
    return {
      kind: 'starting',
      why: {
        kind: 'place',
        reason: `No node takes the worker (${detail(unscheduled.reason, unscheduled.message)}).`,
      },
    };
  return { kind: 'starting' };
}

function withoutPod(refusal: string | undefined): Verdict {
  if (refusal === undefined) return { kind: 'starting' };
  const said = brief(refusal);
  if (isQuota(refusal))
    return {
      kind: 'starting',
      why: {
        kind: 'place',
        reason: `The quota of the namespace leaves no room for the worker's pod (${said}).`,
      },
    };
  // A rule that nobody could ask has not refused: whoever runs it may come back.
  if (/failed calling webhook/.test(refusal))
    return {
      kind: 'starting',
      why: {
        kind: 'place',
        reason: `A rule of the cluster cannot be asked about the worker's pod (${said}).`,
      },
    };
  if (isAdmission(refusal) || /is forbidden|is invalid|not found/.test(refusal))
    return gone(
      `The cluster does not admit the worker's pod (${said}). Ask who runs its admission rules, or adapt the executor's settings.`,
      'nothing',
    );
  return {
    kind: 'starting',
    why: { kind: 'place', reason: `Kubernetes cannot make the worker's pod (${said}).` },
  };
}
