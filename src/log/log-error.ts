import { CodedError } from '../base/coded-error.ts';

/** - damaged: a stored piece of a log cannot be decoded */
export type LogErrorCode = 'damaged';

export class LogError extends CodedError<LogErrorCode> {}
