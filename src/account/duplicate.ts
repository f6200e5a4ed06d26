import { SqlError } from '../db/sql-error.ts';
import { AccountError } from './account-error.ts';

/** What to throw for a row that exists already: AccountError `exists` with this message. */
export function onDuplicate(thrown: unknown, message: string): unknown {
  return thrown instanceof SqlError && thrown.code === 'unique-violation'
    ? new AccountError('exists', message, thrown)
    : thrown;
}
