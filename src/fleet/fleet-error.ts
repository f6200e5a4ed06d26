import { CodedError } from '../base/coded-error.ts';

/**
 * - unknown-executor: no manager that lives has an executor of that name
 * - configured: the configuration says so, and only a change of it can change that
 * - elsewhere: this server cannot do it, because it does not have that executor
 */
export type FleetErrorCode = 'unknown-executor' | 'configured' | 'elsewhere';

export class FleetError extends CodedError<FleetErrorCode> {}
