import { CodedError } from '../base/coded-error.ts';

/**
 * What is wrong with the server behind an orchestrator.
 *
 * - unreachable: no connection, or it broke
 * - no-answer: there is a connection, and nothing came over it in time
 * - wrong-password: the password is wrong, missing, or not asked for
 * - forbidden: the account may not run a command, or not use a key or channel
 * - tls: the certificates of the two sides do not fit, or one side does not speak TLS
 * - certificate-file: a certificate or key could not be read
 * - no-such-database: the server has no database of this number
 * - refused: the server answered a command with another error
 * - listener: a listener of this process threw
 */
export type OrchestratorErrorCode =
  | 'unreachable'
  | 'no-answer'
  | 'wrong-password'
  | 'forbidden'
  | 'tls'
  | 'certificate-file'
  | 'no-such-database'
  | 'refused'
  | 'listener';

/** The message never holds a password. */
export class OrchestratorError extends CodedError<OrchestratorErrorCode> {}

/** Whether trying again without a change of the configuration, here or at the server, is in vain. */
export function needsConfiguration({ code }: OrchestratorError): boolean {
  return (
    code === 'wrong-password' || code === 'tls' || code === 'certificate-file' || code === 'no-such-database'
  );
}
