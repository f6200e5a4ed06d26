import type { BuildRequest } from '../model/build.ts';
import type { EnqueueOptions } from './build-queue.ts';

/** One build that is to be made. Many are made together. */
export interface Enqueue {
  readonly request: BuildRequest;
  readonly options: EnqueueOptions;
}
