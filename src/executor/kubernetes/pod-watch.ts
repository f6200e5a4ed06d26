import { backOff } from '../../base/back-off.ts';
import type { Clock } from '../../base/clock.ts';
import { ApiFailure } from './api-client.ts';
import type { BuilderApi } from './builder-api.ts';
import type { Pod } from './objects.ts';

export interface PodWatchOptions {
  readonly api: BuilderApi;
  readonly selector: string;
  readonly clock: Clock;
  /** Where the last list ended; undefined: not listed yet. */
  readonly resourceVersion: () => string | undefined;
  /** Something has changed: look now. `pod`, when a pod is what has ended: that is final, whatever else was missed. */
  readonly hurry: (pod?: Pod) => void;
}

const seconds = 240;
/** The server ends a watch in time; a way that was cut silently does not say so. */
const cutAfter = (seconds + 15) * 1_000;
const slowest = 10_000;
/** A change that may be an end; that a pod goes on its way can wait for the next look. */
const ending = /^\{"type":"DELETED"|"deletionTimestamp":|"phase":"(Failed|Succeeded)"|"terminated":\{/;

/**
 * Watches the pods of an executor for ends. Nothing depends on it: what is missed while it is cut, or because it began too
 * late, the next look sees. Runs until the signal.
 */
export async function watchPods(options: PodWatchOptions, signal: AbortSignal): Promise<void> {
  const { clock } = options;
  for (let failures = 0; !signal.aborted; ) {
    const version = options.resourceVersion();
    if (version !== undefined) {
      const how = await once(options, version, signal);
      // An account that may not watch has its workers looked at, and that is all.
      if (how === 'forbidden') return;
      failures = how === 'ended' ? 0 : failures + 1;
    }
    await clock.sleep(backOff(failures, { first: 500, cap: slowest }), signal).catch(() => {});
  }
}

async function once(
  { api, selector, hurry }: PodWatchOptions,
  resourceVersion: string,
  signal: AbortSignal,
): Promise<'ended' | 'failed' | 'forbidden'> {
  try {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(cutAfter)]);
    let first = true;
    for await (const line of api.watchPods(selector, { resourceVersion, seconds }, limited)) {
      if (line.startsWith('{"type":"ERROR"')) {
        hurry();
        // Begun from a version that is too old: the next look has a newer one.
        return first ? 'failed' : 'ended';
      }
      first = false;
      if (ending.test(line)) hurry(podOf(line));
    }
    return 'ended';
  } catch (thrown) {
    return thrown instanceof ApiFailure && thrown.status === 403 ? 'forbidden' : 'failed';
  }
}

function podOf(line: string): Pod | undefined {
  try {
    const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: Pod };
    return type === 'DELETED' ? undefined : object;
  } catch {
    return undefined;
  }
}
