import { CodedError } from '../base/coded-error.ts';

/**
 * Why a worker's token is not accepted.
 *
 * - malformed: not a JWT
 * - bad-algorithm: signed by another algorithm than the allowed ones, or not signed
 * - unknown-key: its `kid` is none of our keys
 * - bad-signature: signed by another key than it says
 * - expired, not-yet-valid: outside its lifetime
 * - wrong-issuer, wrong-audience: made by, or for, another manager
 * - wrong-type: a registration token where a job token is needed, or the other way round
 * - missing-claim: lacks a claim that every token of ours has, or has one that cannot be read
 */
export type TokenErrorCode =
  | 'malformed'
  | 'bad-algorithm'
  | 'unknown-key'
  | 'bad-signature'
  | 'expired'
  | 'not-yet-valid'
  | 'wrong-issuer'
  | 'wrong-audience'
  | 'wrong-type'
  | 'missing-claim';

/** The message never holds the token. */
export class TokenError extends CodedError<TokenErrorCode> {}
