import { CodedError } from '../base/coded-error.ts';

/**
 * What a worker meets when it talks to its manager.
 *
 * - unreachable: no manager could be reached within the time for it
 * - refused: the attempt is not, or no longer, this worker's; nothing it does counts any more
 * - not-started: the manager cannot start the job
 * - protocol: the peer answered with something that is not this protocol
 * - cancelled: the manager wants the attempt to stop
 * - closed: this side has closed the connection
 */
export type RpcErrorCode = 'unreachable' | 'refused' | 'not-started' | 'protocol' | 'cancelled' | 'closed';

export class RpcError extends CodedError<RpcErrorCode> {}
