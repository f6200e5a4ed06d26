import type { AttemptId } from '../model/ids.ts';
import type { Executor, StartedWorker, WorkerOrder, WorkerStatus } from './executor.ts';

/**
 * An executor that changes how another one starts workers, and passes on all else. `check` and `progress` are asked of
 * the inner one itself by those who want them.
 */
export abstract class ExecutorDecorator implements Executor {
  protected readonly inner: Executor;

  constructor(inner: Executor) {
    this.inner = inner;
  }

  get name(): string {
    return this.inner.name;
  }

  get type(): string {
    return this.inner.type;
  }

  abstract start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker>;

  stop(worker: string, signal: AbortSignal): Promise<void> {
    return this.inner.stop(worker, signal);
  }

  status(worker: string): Promise<WorkerStatus> {
    return this.inner.status(worker);
  }

  running(): Promise<readonly { readonly worker: string; readonly attemptId: AttemptId }[]> {
    return this.inner.running();
  }

  onGone(tell: Parameters<Executor['onGone']>[0]): () => void {
    return this.inner.onGone(tell);
  }

  adopt(keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void> {
    return this.inner.adopt(keep);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
