import { createHash } from 'node:crypto';
import { type AttemptId, parseAttemptId } from '../../model/ids.ts';
import type { WorkerOrder } from '../executor.ts';
import type { Metadata } from './objects.ts';
import type { JobMaker, KubernetesSettings } from './settings.ts';

/**
 * The name of an attempt's Job: known before it exists, so that asking for it twice cannot make two. 49 characters,
 * which leaves its pods the 63 that a name may have.
 */
export function jobNameOf({ buildId, attemptId }: Pick<WorkerOrder, 'buildId' | 'attemptId'>): string {
  return `${buildId}-${attemptId.replaceAll('-', '').slice(0, 12)}`;
}

const jobName = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9a-f]{12}$/;

export function isJobName(text: string): boolean {
  return jobName.test(text);
}

export const attemptLabel = 'slipway-attempt';
const executorLabel = 'slipway-executor';
const siteLabel = 'slipway-site';

/** What finds the Jobs and pods of one executor of one Slipway, whichever manager made them. */
export function identityLabels(
  { name }: Pick<KubernetesSettings, 'name'>,
  { site }: Pick<JobMaker, 'site'>,
): Readonly<Record<string, string>> {
  return { [executorLabel]: fingerprint(name), [siteLabel]: fingerprint(site) };
}

export function selectorOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/** `build`, `time`, `manager` and `quay-sha` are the names that tools around Quay's builders look for. */
export function labelsOf(
  order: WorkerOrder,
  settings: Pick<KubernetesSettings, 'name'>,
  maker: JobMaker,
  now: number,
): Record<string, string> {
  return {
    build: order.buildId,
    time: new Date(now).toISOString().slice(0, 13).replace('T', '-'),
    manager: labelValue(maker.manager),
    'quay-sha': labelValue(maker.version),
    [attemptLabel]: order.attemptId,
    ...identityLabels(settings, maker),
  };
}

export function attemptOf({ labels }: Metadata): AttemptId | undefined {
  return parseAttemptId(labels?.[attemptLabel] ?? '');
}

/** Names are anything; what selects must be exact and fit into a label. */
function fingerprint(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** As much of a text as a label may hold. */
export function labelValue(text: string): string {
  return text
    .replaceAll(/[^A-Za-z0-9._-]/g, '_')
    .slice(0, 63)
    .replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
}
