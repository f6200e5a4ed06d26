import { messageOf } from '../base/coded-error.ts';
import type { EgressGuard } from '../egress/egress-guard.ts';
import { type GitUrl, parseGitUrl } from '../egress/git-url.ts';
import { ApiError } from './api-error.ts';

/**
 * A git URL with the form that is stored. What is wrong with it is said here where that can be seen without a name
 * server; workers check again when they fetch. Throws ApiError that names the field, and EgressError.
 */
export function checkGitUrl(
  field: string,
  text: string,
  egress: EgressGuard,
): { readonly href: string; readonly parsed: GitUrl } {
  const read = (url: string): GitUrl => {
    try {
      return parseGitUrl(url);
    } catch (error) {
      throw new ApiError('invalid_request', `"${field}": ${messageOf(error)}`);
    }
  };
  const isHttp = /^https?:\/\//i.test(text);
  // As it was given: what makes a URL of it would leave line ends and tabs out, and another repository be built.
  if (isHttp) read(text);
  const href = isHttp ? egress.checkUrl(text).href : text;
  const parsed = read(href);
  if (parsed.scheme === 'ssh') {
    const host = parsed.host.includes(':') ? `[${parsed.host}]` : parsed.host;
    egress.checkUrl(`https://${host}:${parsed.port}/`);
  }
  return { href, parsed };
}
