import { type StatusObject, status } from '@grpc/grpc-js';
import { JobUnstartable, WorkerRefused } from '../manager/worker-sessions.ts';
import { TokenError } from './token-error.ts';

/** What goes wrong in a call, for the operator; pino's loggers fit. */
export interface RpcLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

export type CallStatus = Pick<StatusObject, 'code' | 'details'>;

/**
 * The one place that turns what was thrown into a gRPC status. Faults of our own are logged and sent without their
 * text, which may name files and hosts: UNAVAILABLE, after which a worker tries again.
 */
export function statusOf(thrown: unknown, rpc: string, log: RpcLog): CallStatus {
  if (thrown instanceof TokenError) {
    log.info({ rpc, reason: thrown.code }, 'refused a worker token');
    return { code: status.UNAUTHENTICATED, details: `Invalid build token: ${thrown.message}` };
  }
  if (thrown instanceof WorkerRefused) {
    log.info({ rpc, reason: thrown.refusal }, 'refused a worker');
    return { code: status.UNAUTHENTICATED, details: `Invalid build token: ${thrown.message}` };
  }
  log.error({ rpc, err: thrown }, 'a call of a worker failed');
  if (thrown instanceof JobUnstartable) {
    return { code: status.INTERNAL, details: `The build job cannot be started: ${thrown.message}` };
  }
  return { code: status.UNAVAILABLE, details: 'The build manager could not answer this call; try again.' };
}
