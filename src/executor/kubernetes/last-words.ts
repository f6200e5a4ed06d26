import { messageOf } from '../../base/coded-error.ts';
import { lastOutput, outputBytes } from '../last-output.ts';
import { brief } from './api-error.ts';
import type { BuilderApi } from './builder-api.ts';
import type { Pod } from './objects.ts';

const logLines = 40;
const shownEvents = 6;

export interface LastWords {
  /** A sentence about the events, or about why they cannot be had. */
  readonly events?: string;
  readonly output?: string;
}

/** What a pod that has ended wrote last, and what Kubernetes says of it: both go with the pod. Never throws. */
export async function lastWordsOf(
  api: BuilderApi,
  { metadata: { name, uid } }: Pod,
  ask: 'log' | 'log-and-events' | 'events',
  signal: AbortSignal,
): Promise<LastWords> {
  const [output, events] = await Promise.all([
    ask === 'events' ? undefined : logOf(api, name, signal),
    ask === 'log' ? undefined : eventsOf(api, uid, signal),
  ]);
  return { ...(events === undefined ? {} : { events }), ...(output === undefined ? {} : { output }) };
}

async function logOf(api: BuilderApi, pod: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const query = `container=builder&tailLines=${logLines}&limitBytes=${outputBytes * 4}`;
    return lastOutput(Buffer.from(await api.podLog(pod, query, signal)));
  } catch (thrown) {
    return `(The log of its pod could not be read: ${brief(messageOf(thrown))})`;
  }
}

async function eventsOf(api: BuilderApi, uid: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { items } = await api.events(`involvedObject.uid=${uid}`, signal);
    const shown = items
      .filter(({ type }) => type !== 'Normal')
      .map(({ reason = '', message = '' }) => brief(`${reason}: ${message}`));
    const last = [...new Set(shown)].slice(-shownEvents);
    return last.length === 0 ? undefined : `Kubernetes says: ${last.join('; ')}`;
  } catch (thrown) {
    return `(The events of its pod could not be read: ${brief(messageOf(thrown))})`;
  }
}
