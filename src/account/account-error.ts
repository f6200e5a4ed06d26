import { CodedError } from '../base/coded-error.ts';

/**
 * - bad-name: not a user name that can be a namespace
 * - bad-password: too short or too long
 * - bad-token: a token without scopes, or with an expiry that has passed
 * - exists: there is such a user or repository already
 * - unknown: there is no such user or repository
 * - too-many: the user has as many tokens as a user may have
 */
export type AccountErrorCode = 'bad-name' | 'bad-password' | 'bad-token' | 'exists' | 'unknown' | 'too-many';

export class AccountError extends CodedError<AccountErrorCode> {}
