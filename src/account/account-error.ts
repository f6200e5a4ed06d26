import { CodedError } from '../base/coded-error.ts';

/**
 * - bad-name: not a name that a user, organization, team or robot can have
 * - bad-password: too short or too long
 * - bad-token: a token without scopes, or with an expiry that has passed
 * - exists: there is such a user, organization, robot or repository already
 * - last-admin: an organization would be left without anybody who administers it
 * - not-empty: the namespace still has repositories
 * - too-many: there are as many tokens, robots or teams as there may be
 * - too-often: more tokens were made lately than may be
 * - unknown: there is no such user, organization, team or repository
 */
export type AccountErrorCode =
  | 'bad-name'
  | 'bad-password'
  | 'bad-token'
  | 'exists'
  | 'last-admin'
  | 'not-empty'
  | 'too-many'
  | 'too-often'
  | 'unknown';

export class AccountError extends CodedError<AccountErrorCode> {}
