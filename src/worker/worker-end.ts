import { unreachable } from '../base/unreachable.ts';
import type { Fault, FaultOwner } from '../model/fault.ts';
import type { RpcError } from '../rpc/rpc-error.ts';

/** How a worker's life ended. */
export type WorkerEnd =
  /** The image was pushed, and the manager knows. */
  | { readonly kind: 'complete' }
  /** The build failed, and the manager knows why. */
  | { readonly kind: 'failed'; readonly fault: Fault; readonly owner: FaultOwner }
  /** The manager is away, does not want this worker, or wants it to stop. */
  | { readonly kind: 'released'; readonly reason: RpcError }
  /** A signal of the operating system. */
  | { readonly kind: 'stopped' };

/**
 * The exit status of the worker:
 *
 * | status | meaning                                                       |
 * |--------|---------------------------------------------------------------|
 * | 0      | complete                                                      |
 * | 1      | the Dockerfile or the source is at fault; reported            |
 * | 2      | an internal or infrastructure fault; reported                 |
 * | 3      | the environment is wrong; nothing was done                    |
 * | 4      | the manager could not be reached, or could not start the job  |
 * | 5      | the manager refused the worker: the attempt is not its own    |
 * | 6      | registered, but then the manager was away for too long        |
 * | 7      | a fault in the worker's own code; nothing was reported        |
 * | 130    | the build was cancelled                                       |
 * | 143    | told to stop by a signal                                      |
 */
export const environmentStatus = 3;
export const bugStatus = 7;

export function exitStatus(end: WorkerEnd, registered: boolean): number {
  switch (end.kind) {
    case 'complete':
      return 0;
    case 'failed':
      return end.owner === 'user' ? 1 : 2;
    case 'stopped':
      return 143;
    case 'released':
      return statusOfRelease(end.reason, registered);
    default:
      return unreachable(end);
  }
}

function statusOfRelease({ code }: RpcError, registered: boolean): number {
  switch (code) {
    case 'refused':
      return 5;
    case 'cancelled':
      return 130;
    case 'unreachable':
      return registered ? 6 : 4;
    case 'not-started':
    case 'protocol':
    case 'closed':
      return 4;
    default:
      return unreachable(code);
  }
}
