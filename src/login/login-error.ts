import { CodedError } from '../base/coded-error.ts';

/**
 * - unknown-provider: no login of this name is configured
 * - denied: the person, or the provider for them, said no
 * - wrong-state: it came back to a browser that did not begin it, or was changed on its way
 * - expired: it took too long
 * - used: it came back before
 * - unreachable: the provider does not answer, or says that it cannot
 * - refused: the provider refuses the code, or what Slipway shows for itself
 * - bad-answer: what the provider says is not what was asked for, or proves nothing
 * - not-member: the person is in none of the organizations that are allowed
 * - no-account: nobody's account, and none is made for new people
 * - disabled: the user may not sign in
 * - taken: the person is another user already
 * - too-many: the user has as many logins as a user may have
 * - signed-out: whoever asked for the link is not signed in any more
 * - busy: too many people sign in at this moment
 */
export type LoginErrorCode =
  | 'unknown-provider'
  | 'denied'
  | 'wrong-state'
  | 'expired'
  | 'used'
  | 'unreachable'
  | 'refused'
  | 'bad-answer'
  | 'not-member'
  | 'no-account'
  | 'disabled'
  | 'taken'
  | 'too-many'
  | 'signed-out'
  | 'busy';

/** A login by a provider that came to nothing. The message is for whoever signs in. */
export class LoginError extends CodedError<LoginErrorCode> {
  /** For the server's log: what a provider said, without anything secret. */
  readonly detail: string | undefined;

  constructor(code: LoginErrorCode, message: string, detail?: string) {
    super(code, message);
    this.detail = detail;
  }
}
