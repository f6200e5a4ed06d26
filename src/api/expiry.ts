import Type from 'typebox';
import { ApiError } from './api-error.ts';

export const expirySchema = Type.Optional(
  Type.String({ maxLength: 40, description: 'ISO 8601; default: never' }),
);

export const madeWithSchema = Type.Union([Type.String(), Type.Null()], {
  description: 'Id of the personal token it was made with; null: a password or a browser',
});

/** When a token is to end, in milliseconds since 1970. Throws ApiError. */
export function parseExpiry(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const at = /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at))
    throw new ApiError('invalid_request', '"expires" is not a time. Write it like 2030-01-31T12:00:00Z.');
  return at;
}

/** When what is made with a token that ends at `own` is to end. Throws ApiError. */
export function expiryWithin(wanted: number | undefined, own: number | undefined): number | undefined {
  if (own === undefined || wanted === undefined) return wanted ?? own;
  if (wanted <= own) return wanted;
  throw new ApiError(
    'insufficient_scope',
    `Your token ends at ${new Date(own).toISOString()}, so it cannot make one that lasts longer. Sign in with your password.`,
  );
}

export function timeOrNull(at: number | undefined): string | null {
  return at === undefined ? null : new Date(at).toISOString();
}
