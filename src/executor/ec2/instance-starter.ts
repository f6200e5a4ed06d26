import type { Clock } from '../../base/clock.ts';
import type { AttemptId } from '../../model/ids.ts';
import type { WorkerOrder } from '../executor.ts';
import { ExecutorError } from '../executor-error.ts';
import type { CoreosAmi } from './coreos-ami.ts';
import type { Ec2Api, Ec2Instance } from './ec2-api.ts';
import { answerOf, fromEc2 } from './ec2-error.ts';
import type { Ec2Settings } from './ec2-settings.ts';
import { because, isUp } from './instance-state.ts';
import { ofAttempt, ownInstances } from './instance-tags.ts';
import { runRequest } from './run-request.ts';

export interface InstanceStarterOptions {
  readonly settings: Ec2Settings;
  readonly api: Ec2Api;
  readonly amis: Pick<CoreosAmi, 'find' | 'forget'>;
  /** What an instance is told at its first boot. It holds the order's token. */
  readonly userData: (order: WorkerOrder) => string;
  readonly clock: Clock;
  /** Milliseconds between two looks for an instance that must be there. */
  readonly every: number;
}

const looks = 3;
const remembered = 1000;

/**
 * Starts one instance for an attempt, however often and wherever it is asked: the request has the attempt as its client
 * token. The order's own token is signed anew each time, so EC2 says of a repetition that it differs; then there is an
 * instance, and its tags find it. Only when it has ended meanwhile, another client token is used, after one more look,
 * which every other server would find the need for in the same way.
 */
export class InstanceStarter {
  readonly #options: InstanceStarterOptions;
  /** How many client tokens of an attempt led to an instance that has ended. */
  readonly #used = new Map<AttemptId, number>();

  constructor(options: InstanceStarterOptions) {
    this.#options = options;
  }

  /** Throws ExecutorError, or the signal's reason. */
  async start(order: WorkerOrder, signal: AbortSignal): Promise<Ec2Instance> {
    const { settings, amis, userData } = this.#options;
    const { attemptId } = order;
    const used = this.#used.get(attemptId) ?? 0;
    if (used > 0) {
      const there = await this.#find(attemptId, signal, 1);
      if (there !== undefined) return there;
    }
    const clientToken = used === 0 ? attemptId : `${attemptId}-${used}`;
    const ami = settings.ami ?? (await amis.find());
    signal.throwIfAborted();
    const request = runRequest(settings, { order, ami, userData: userData(order), clientToken });
    const instance = await this.#run(request, order, signal);
    if (isUp(instance)) return instance;
    this.#useUp(attemptId);
    throw new ExecutorError(
      'start-failed',
      `Executor ${settings.executor} started instance ${instance.id}, and it ended at once (${instance.state}${because(instance)}).`,
    );
  }

  /**
   * Whether `start` would be allowed what it asks for. Throws ExecutorError. Whether it may be ended shows with an instance
   * only: rights to do so hang on its tags.
   */
  async tryStart(order: WorkerOrder, signal: AbortSignal): Promise<void> {
    const { settings, api, amis, userData } = this.#options;
    const ami = settings.ami ?? (await amis.find());
    signal.throwIfAborted();
    const clientToken = `${order.attemptId}-dry`;
    const request = runRequest(settings, { order, ami, userData: userData(order), clientToken });
    try {
      await api.tryRun(request, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const secrets = [...api.place.secrets, order.token];
      throw fromEc2(thrown, 'start an instance', { ...api.place, secrets });
    }
  }

  async #run(
    request: ReturnType<typeof runRequest>,
    order: WorkerOrder,
    signal: AbortSignal,
  ): Promise<Ec2Instance> {
    const { api, amis } = this.#options;
    try {
      return await api.run(request, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const answer = answerOf(thrown);
      if (answer.startsWith('InvalidAMIID')) amis.forget();
      if (answer === 'IdempotentParameterMismatch') {
        const there = await this.#find(order.attemptId, signal, looks);
        if (there !== undefined) return there;
        this.#useUp(order.attemptId);
      }
      const secrets = [...api.place.secrets, order.token];
      throw fromEc2(thrown, 'start an instance', { ...api.place, secrets });
    }
  }

  /** The attempt's instance, should there be one. A list may lag behind what was started a moment ago. */
  async #find(attemptId: AttemptId, signal: AbortSignal, times: number): Promise<Ec2Instance | undefined> {
    const { api, clock, settings, every } = this.#options;
    for (let look = 0; look < times; look += 1) {
      if (look > 0) await clock.sleep(every, signal);
      const found = await api.list([...ownInstances(settings), ofAttempt(attemptId)], signal);
      const up = found.find(isUp);
      if (up !== undefined) return up;
    }
    return undefined;
  }

  #useUp(attemptId: AttemptId): void {
    const before = this.#used.get(attemptId) ?? 0;
    this.#used.delete(attemptId);
    this.#used.set(attemptId, before + 1);
    const [oldest] = this.#used.keys();
    if (this.#used.size > remembered && oldest !== undefined) this.#used.delete(oldest);
  }
}
