import { createHash } from 'node:crypto';
import type { WorkerOrder } from './executor.ts';

/** Which orders one executor of a list takes. The names are the configuration's. */
export interface ChoosingRules {
  /** NAMESPACE_WHITELIST */
  readonly namespaceWhitelist?: readonly string[];
  /** STAGED_ROLLOUT: the share of namespaces, from 0 to 1, beside those of the whitelist. */
  readonly stagedRollout?: number;
  /** MINIMUM_RETRY_THRESHOLD: tries the order must have left. Default 0. */
  readonly minimumRetryThreshold?: number;
  /** Takes nothing for now; what runs goes on. */
  readonly cordoned?: boolean;
  /** Platforms it builds for; default: all. An order without a platform fits everywhere. */
  readonly platforms?: readonly string[];
}

/** Why an executor is passed over; undefined: it is asked. */
export type PassedOver = 'namespace' | 'retries' | 'cordoned' | 'platform';

export function passedOver(rules: ChoosingRules, order: WorkerOrder): PassedOver | undefined {
  if (!namespaceAllowed(rules, order.namespace)) return 'namespace';
  if ((rules.minimumRetryThreshold ?? 0) > order.triesLeft) return 'retries';
  // Before what passes: uncordoning would not make it build for another platform.
  if (order.platform !== '' && rules.platforms?.includes(order.platform) === false) return 'platform';
  if (rules.cordoned === true) return 'cordoned';
  return undefined;
}

/** A namespace stays on its side of a rollout as the share grows: its place is the last byte of its hash. */
function namespaceAllowed({ namespaceWhitelist, stagedRollout }: ChoosingRules, namespace: string): boolean {
  if (namespaceWhitelist?.includes(namespace) === true) return true;
  if (stagedRollout === undefined) return namespaceWhitelist === undefined;
  const place = createHash('sha256').update(namespace).digest().at(-1) ?? 255;
  return place < 256 * stagedRollout;
}
