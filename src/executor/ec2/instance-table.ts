import type { AttemptId } from '../../model/ids.ts';
import type { WorkerStatus } from '../executor.ts';
import type { Ec2Instance } from './ec2-api.ts';

export type Gone = Extract<WorkerStatus, { kind: 'gone' }>;

export interface KnownInstance {
  readonly id: string;
  readonly attemptId: AttemptId | undefined;
  /** When this server first knew of it. */
  readonly since: number;
  state: 'starting' | 'running' | Gone;
  /** Its end is told of: it was started here, found by adoption, or asked for. */
  watched: boolean;
  /** We end it, so its end is no news. */
  stopping: boolean;
  /** Its end was noticed, and is being told of. */
  telling: boolean;
}

const goneKept = 1000;

/**
 * What is known of the executor's instances. A state goes forward only: EC2's lists lag behind its other answers, and what
 * is gone here stays gone.
 *
 * | EC2 says                                       | here                    |
 * |------------------------------------------------|-------------------------|
 * | pending                                        | starting                |
 * | running                                        | running                 |
 * | shutting-down, terminated, stopping, stopped   | gone                    |
 * | nothing, for some time after it was started    | starting                |
 * | nothing                                        | gone                    |
 */
export class InstanceTable {
  readonly #instances = new Map<string, KnownInstance>();

  get(id: string): KnownInstance | undefined {
    return this.#instances.get(id);
  }

  /** Those that are not gone. */
  alive(): KnownInstance[] {
    return [...this.#instances.values()].filter(isAlive);
  }

  ofAttempt(attemptId: AttemptId): KnownInstance | undefined {
    return this.alive().find((instance) => instance.attemptId === attemptId);
  }

  /** Takes up what EC2 says of an instance that lives. One that is gone, here or there, is left as it is. */
  seen(instance: Ec2Instance, now: number): KnownInstance {
    const known = this.#instances.get(instance.id) ?? {
      id: instance.id,
      attemptId: instance.attemptId,
      since: now,
      state: 'starting' as const,
      watched: false,
      stopping: false,
      telling: false,
    };
    this.#instances.set(instance.id, known);
    if (known.state === 'starting' && instance.state === 'running') known.state = 'running';
    return known;
  }

  /** False: it was gone before. */
  lost(known: KnownInstance, gone: Gone): boolean {
    if (!isAlive(known)) return false;
    known.state = gone;
    // The newest last; the oldest of those that are gone are forgotten.
    this.#instances.delete(known.id);
    this.#instances.set(known.id, known);
    const over = [...this.#instances.values()].filter((each) => !isAlive(each));
    for (const { id } of over.slice(0, Math.max(0, over.length - goneKept))) this.#instances.delete(id);
    return true;
  }

  /** One that nobody watches leaves no trace. */
  forget(id: string): void {
    this.#instances.delete(id);
  }
}

export function isAlive({ state }: KnownInstance): boolean {
  return state === 'starting' || state === 'running';
}
