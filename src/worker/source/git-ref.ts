import { SourceError } from './source-error.ts';

/** What to check out. `name` may be a branch, a tag or, when nothing else has that name, a short commit. */
export type GitRef =
  | { readonly kind: 'head' }
  | { readonly kind: 'commit'; readonly sha: string }
  /** The first digits of a commit, whatever branches and tags are called. */
  | { readonly kind: 'short'; readonly digits: string }
  | { readonly kind: 'full'; readonly ref: string }
  | { readonly kind: 'name'; readonly name: string; readonly maybeCommit: boolean };

/**
 * Reads a commit or ref as users write it: nothing or `HEAD`, a full commit, `refs/heads/main`, `main`, `v1.2`,
 * a short commit. Refuses what git would take for an option, a refspec or an expression. Throws SourceError
 * `gitcheckout`.
 */
export function parseGitRef(text: string): GitRef {
  if (text === '' || text === 'HEAD') return { kind: 'head' };
  if (/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i.test(text)) return { kind: 'commit', sha: text.toLowerCase() };
  if (!isRefName(text)) {
    const shown = text.replace(/[^\x20-\x7e]/g, '?').slice(0, 100);
    throw new SourceError(
      'gitcheckout',
      `Could not checkout git ref: "${shown}" is no commit, branch or tag name.`,
    );
  }
  if (text.startsWith('refs/')) return { kind: 'full', ref: text };
  return { kind: 'name', name: text, maybeCommit: /^[0-9a-f]{7,63}$/i.test(text) };
}

/** Reads what is meant as a commit: its id or the first digits of it, and anything else as a ref. */
export function parseGitCommit(text: string): GitRef {
  if (text.length === 40 || !/^[0-9a-f]{7,63}$/i.test(text)) return parseGitRef(text);
  return { kind: 'short', digits: text.toLowerCase() };
}

/** git's own rules for the names of refs, and no part that begins like an option or a forced refspec. */
function isRefName(text: string): boolean {
  if (text.length > 255 || text === '@') return false;
  if (/[\0-\x20\x7f~^:?*[\\]|\.\.|@\{|\/\/|\/$|^\/|\.$/.test(text)) return false;
  return text.split('/').every((part) => !/^[.+-]|\.lock$/.test(part));
}
