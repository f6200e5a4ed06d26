import { AccountError } from './account-error.ts';

const shortest = 8;
const longest = 1024;

/** Throws AccountError `bad-password`. Length is all that is asked of a password. */
export function requirePassword(password: string): void {
  const length = [...password].length;
  if (length < shortest || length > longest)
    throw new AccountError(
      'bad-password',
      `The password has ${length} characters; it must have ${shortest} to ${longest}.`,
    );
}
