import type { Build, BuildRequest } from '../model/build.ts';
import type { BuildId } from '../model/ids.ts';
import type { EnqueueOptions } from './build-queue.ts';

/** One build that is to be made. Many are made together. */
export interface Enqueue {
  readonly request: BuildRequest;
  readonly options: EnqueueOptions;
}

/** The build; `repeated`: it was made before, under the same idempotency key. `superseded`: those that it ended. */
export interface Enqueued {
  readonly build: Build;
  readonly repeated: boolean;
  readonly superseded: readonly BuildId[];
}
