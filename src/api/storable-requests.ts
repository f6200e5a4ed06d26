import { cutText, isStorable } from '../base/cut-text.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';

/**
 * Refuses texts that no name, no path and no value has, and that PostgreSQL does not take: those with a zero byte or half of
 * a pair in them. One place for all routes, so that no route has to think of it. Bodies that are bytes (uploads, deliveries
 * of git hosts) are not looked at: whoever reads them makes their texts storable.
 */
export function refuseUnstorable(api: Api): void {
  // Before anything of the address is looked up; where nothing is registered nothing will be.
  api.addHook('onRequest', async ({ params, query, routeOptions }) => {
    if (routeOptions.config.access === undefined) return;
    refuse(params, 'path');
    refuse(query, 'query');
  });
  api.addHook('preValidation', async ({ body }) => refuse(body, 'body'));
}

function refuse(value: unknown, place: string): void {
  const path = unstorableIn(value);
  if (path === undefined) return;
  // Only as much of a name as can be shown.
  const name = cutText(path.filter(isStorable).join('.'), 100);
  throw new ApiError(
    'invalid_request',
    `${name === '' ? `The ${place}` : `"${name}" in the ${place}`} has a zero byte or half of a character in it. Leave it out.`,
  );
}

/** What leads to the first text, or the first name, that cannot be stored. Bodies are as deep as json-body.ts lets them be. */
function unstorableIn(value: unknown): readonly string[] | undefined {
  if (typeof value === 'string') return isStorable(value) ? undefined : [];
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return undefined;
  const entries: Iterable<readonly [string | number, unknown]> = Array.isArray(value)
    ? value.entries()
    : isPlain(value)
      ? Object.entries(value)
      : [];
  for (const [key, inner] of entries) {
    const name = String(key);
    const path = isStorable(name) ? unstorableIn(inner) : [];
    if (path !== undefined) return [name, ...path];
  }
  return undefined;
}

/** Streams are none. What a query is read into has no prototype, and neither has what is read of JSON with care. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
