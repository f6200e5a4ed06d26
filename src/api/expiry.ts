import Type from 'typebox';
import { ApiError } from './api-error.ts';

export const expirySchema = Type.Optional(
  Type.String({ maxLength: 40, description: 'ISO 8601; default: never' }),
);

/** When a token is to end, in milliseconds since 1970. Throws ApiError. */
export function parseExpiry(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const at = /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at))
    throw new ApiError('invalid_request', '"expires" is not a time. Write it like 2030-01-31T12:00:00Z.');
  return at;
}

export function timeOrNull(at: number | undefined): string | null {
  return at === undefined ? null : new Date(at).toISOString();
}
