import { CodedError } from '../base/coded-error.ts';

/**
 * - bad-value: something given cannot be what it is to be
 * - exists: the namespace has a registry of this name already
 * - unknown: there is no such registry, repository or namespace
 * - in-use: repositories, or another one, publish to it
 * - too-many: the namespace has as many as one may have
 * - password-needed: the stored password would go somewhere else than it was given for
 */
export type RegistriesErrorCode =
  | 'bad-value'
  | 'exists'
  | 'unknown'
  | 'in-use'
  | 'too-many'
  | 'password-needed';

export class RegistriesError extends CodedError<RegistriesErrorCode> {}
