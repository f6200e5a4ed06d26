import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock as clock } from '../../src/base/clock.ts';
import type { WorkerOrder, WorkerStatus } from '../../src/executor/executor.ts';
import { parseTag } from '../../src/model/tag.ts';
import { OciClient } from '../../src/registry/oci-client.ts';
import { type ReferencePack, ReferenceWorker } from '../fakes/reference-worker/reference-worker.ts';
import { attemptMark } from './attempt-engine.ts';
import { labelledImage } from './labelled-image.ts';
import { scriptOf } from './reference-script.ts';
import { type Acknowledged, lateWords } from './wiretap.ts';

export interface ReferenceLife {
  readonly order: WorkerOrder;
  readonly door: number;
  readonly acknowledged: (told: Acknowledged) => void;
}

/** What it had in hand when it ended: what it needs to speak again. */
export interface ReferenceEnd {
  readonly status: WorkerStatus;
  /** Set when a manager took its last report: nothing that it says from then on may count. */
  readonly completed?: ReferencePack;
}

const beatEvery = 2_000;
const pushLimit = 30_000;

/**
 * A worker that knows only the shared part of the protocol: it logs one line at a time, pushes its tags itself, never
 * reports an error, and gives up without a word when a connection breaks.
 */
export async function liveAsReference(
  { order, door, acknowledged }: ReferenceLife,
  signal: AbortSignal,
): Promise<ReferenceEnd> {
  const over = new AbortController();
  let worker: ReferenceWorker | undefined;
  const stop = () => {
    over.abort(new Error('it was ended'));
    worker?.close();
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    worker = await ReferenceWorker.connect(`127.0.0.1:${door}`);
    signal.throwIfAborted();
    const pack = await worker.register(order.token);
    const beating = beat(worker, over);
    try {
      return await build(worker, pack, { order, door, acknowledged }, over.signal);
    } finally {
      over.abort(new Error('it has ended'));
      worker.close();
      await beating;
    }
  } catch (thrown) {
    // A status would tell of a build that failed; this one lost its manager, or was ended.
    return { status: { kind: 'gone', signal: 'SIGKILL', reason: `It gave up: ${String(thrown)}` } };
  } finally {
    signal.removeEventListener('abort', stop);
    worker?.close();
  }
}

/** Says again, on a new connection, what it had said last, and more. */
export async function speakLateAsReference(door: number, pack: ReferencePack, attemptId: string) {
  const worker = await ReferenceWorker.connect(`127.0.0.1:${door}`);
  try {
    worker.resume(pack);
    await Promise.allSettled([
      worker.setPhase('COMPLETE'),
      worker.setPhase('BUILDING'),
      worker.log(`${lateWords} ${attemptId}`, 'BUILDING', 1_000_000),
    ]);
  } finally {
    worker.close();
  }
}

async function beat(worker: ReferenceWorker, over: AbortController): Promise<void> {
  try {
    for (;;) {
      if (!(await unlessOver(worker.beat(), over.signal))) throw new Error('a heartbeat was refused');
      await sleep(beatEvery, undefined, { signal: over.signal });
    }
  } catch (thrown) {
    over.abort(thrown);
  }
}

async function build(
  worker: ReferenceWorker,
  pack: ReferencePack,
  { order, acknowledged }: ReferenceLife,
  signal: AbortSignal,
): Promise<ReferenceEnd> {
  const { attemptId } = order;
  const phase = async (name: Parameters<ReferenceWorker['setPhase']>[0], metadata?: object) => {
    const { success } = await unlessOver(worker.setPhase(name, metadata), signal);
    if (!success) throw new Error(`${name} was refused`);
  };
  let lines = 0;
  const say = async (member: 'stream' | 'error', text: string) => {
    const { success } = await unlessOver(worker.log(JSON.stringify({ [member]: text })), signal);
    if (!success) throw new Error('a line of the log was refused');
    if (/^[LP] \d+$/.test(text)) acknowledged({ attemptId, lines: ++lines });
  };
  await phase('UNPACKING');
  const answer = await fetch(pack.package_url ?? '', { signal });
  if (!answer.ok) throw new Error(`the package was answered with ${answer.status}`);
  const script = scriptOf(await answer.text());
  await phase('PULLING', {
    registry_url: '',
    base_image: 'scratch',
    base_image_tag: 'latest',
    pull_username: '',
  });
  await phase('BUILDING');
  await say('stream', `${attemptMark}${attemptId}`);
  // As an engine does that shows what it was called with; whichever manager has the connection by now.
  await say('stream', `logged in with ${pack.push_token}`);
  const failedBuilding = await perform(script.building, say, signal);
  if (failedBuilding) return { status: failed };
  await phase('PUSHING');
  const failedPushing = await perform(script.pushing, say, signal);
  if (failedPushing) return { status: failed };
  await push(pack, attemptId, signal);
  await phase('COMPLETE');
  return {
    status: { kind: 'gone', exitCode: 0, reason: 'The worker exited with status 0.' },
    completed: pack,
  };
}

const failed: WorkerStatus = { kind: 'gone', exitCode: 1, reason: 'The worker exited with status 1.' };

/** True: it failed, and said so as its engine does. */
async function perform(
  steps: ReturnType<typeof scriptOf>['building'],
  say: (member: 'stream' | 'error', text: string) => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  for (const step of steps) {
    if (step.kind === 'sleep') await sleep(step.milliseconds, undefined, { signal });
    else await say(step.kind === 'fail' ? 'error' : 'stream', step.text);
    if (step.kind === 'fail') return true;
  }
  return false;
}

async function push(pack: ReferencePack, attemptId: string, over: AbortSignal): Promise<void> {
  const signal = AbortSignal.any([over, AbortSignal.timeout(pushLimit)]);
  const client = new OciClient({
    endpoint: { kind: 'network', host: pack.registry, security: 'http' },
    credentials: { kind: 'password', username: '$token', password: pack.push_token },
    clock,
  });
  try {
    const { blobs, manifest } = labelledImage(attemptId);
    for (const blob of blobs) await client.putBlob(pack.repository, blob, signal);
    for (const name of pack.tag_names) {
      const tag = parseTag(name);
      if (tag === undefined) throw new Error(`${name} is no tag`);
      await client.putManifest(pack.repository, tag, manifest, signal);
    }
  } finally {
    client.close();
  }
}

/** A call of this worker has no limit of its own: it ends with the worker. */
async function unlessOver<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  call.catch(() => {});
  signal.throwIfAborted();
  const ended = new AbortController();
  try {
    return await Promise.race([
      call,
      new Promise<never>((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: ended.signal }),
      ),
    ]);
  } finally {
    ended.abort();
  }
}
