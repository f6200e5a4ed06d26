import { CodedError } from '../base/coded-error.ts';

/**
 * - damaged: a stored piece of a log cannot be decoded
 * - lost: the blob of an archived log is not there
 */
export type LogErrorCode = 'damaged' | 'lost';

export class LogError extends CodedError<LogErrorCode> {}
