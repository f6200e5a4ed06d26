import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';

const deepest = 32;

/** Bodies are JSON of bounded depth, without keys that would reach a prototype. */
export function readJsonBodies(api: Api): void {
  const parse = api.getDefaultJsonParser('error', 'error');
  api.removeAllContentTypeParsers();
  api.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body);
    if (tooDeep(text)) {
      done(new ApiError('invalid_request', `The body is nested more than ${deepest} levels deep.`));
      return;
    }
    // The default parser answers by callback only; an empty body reaches the schema as undefined.
    if (text === '') done(null, undefined);
    else
      parse(request, text, (error, value) => {
        if (error === null) done(null, value);
        else done(new ApiError('invalid_request', `The body is not valid JSON: ${error.message}`));
      });
  });
}

/** Counts brackets outside of strings, so that no recursive code ever sees deep nesting. */
function tooDeep(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (inString) {
      if (code === 0x5c) index += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x5b || code === 0x7b) {
      depth += 1;
      if (depth > deepest) return true;
    } else if (code === 0x5d || code === 0x7d) depth -= 1;
  }
  return false;
}
