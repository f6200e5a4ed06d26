import { CodedError } from '../base/coded-error.ts';

/**
 * What a command ends with when it cannot do what it was asked.
 *
 * - usage: wrong arguments
 * - not-logged-in: there is no profile or token for the server
 * - unreachable: the server does not answer
 * - refused: the server answered 4xx; the message is the server's own
 * - server-failed: the server answered 5xx or something that is not Slipway's
 * - local: a file or folder of this machine could not be read or written
 */
export type CliErrorCode = 'usage' | 'not-logged-in' | 'unreachable' | 'refused' | 'server-failed' | 'local';

export class CliError extends CodedError<CliErrorCode> {
  /** HTTP status, for `refused` and `server-failed`. */
  readonly status: number | undefined;

  constructor(code: CliErrorCode, message: string, options: { cause?: unknown; status?: number } = {}) {
    super(code, message, options.cause);
    this.status = options.status;
  }
}

/** The exit statuses of every command; part of the CLI's contract with scripts. */
export const exitStatus = {
  ok: 0,
  /** The user's fault: the build failed in `error`, or the arguments or permissions are wrong. */
  userError: 1,
  /** Slipway's or the infrastructure's fault: internalerror, expired, server not reachable. */
  internal: 2,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

export type ExitStatus = (typeof exitStatus)[keyof typeof exitStatus];

export function exitStatusOf(error: CliError): ExitStatus {
  switch (error.code) {
    case 'usage':
    case 'not-logged-in':
    case 'refused':
    case 'local':
      return exitStatus.userError;
    case 'unreachable':
    case 'server-failed':
      return exitStatus.internal;
  }
}
