import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';

const largest = 16 * 1024;

/** Bodies of forms, for the routes that are added to `pages`: fields that are texts, each of them once. */
export function readFormBodies(pages: Api): void {
  pages.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: largest },
    (_request, body, done) => {
      const fields: Record<string, string> = Object.create(null) as Record<string, string>;
      for (const [name, value] of new URLSearchParams(String(body))) {
        if (name in fields) {
          done(new ApiError('invalid_request', 'A field of the form was sent twice.'));
          return;
        }
        fields[name] = value;
      }
      done(null, { ...fields });
    },
  );
}
