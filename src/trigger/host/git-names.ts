import { parseGitUrl } from '../../egress/git-url.ts';
import type { TextShape } from './payload.ts';

/** What git calls things, as far as a payload may say it. */

export const fullCommit: TextShape = {
  words: 'a commit of 40 or 64 hexadecimal digits',
  fits: (text) => /^([0-9a-f]{40}|[0-9a-f]{64})$/i.test(text),
};

export const anyCommit: TextShape = {
  words: 'a commit of 7 to 64 hexadecimal digits',
  fits: (text) => /^[0-9a-f]{7,64}$/i.test(text),
};

/** Stands for "there is none": what a deleted ref is at, and what a new one was before. */
export function isNoCommit(text: string): boolean {
  return /^0+$/.test(text);
}

/** In bytes: a row of an index has no room for much more. */
const longestName = 1024;

/** The rules of git-check-ref-format; the longest name that a file system takes has 255 bytes a part. */
export function isRefName(name: string): boolean {
  if (name === '' || Buffer.byteLength(name) > longestName) return false;
  // Control characters, space, and what has a meaning in revisions.
  if (/[\0-\x20\x7f~^:?*[\\]|\.\.|@\{|\/\/|^\/|\/$|\.$/.test(name)) return false;
  if (!name.isWellFormed()) return false;
  return name.split('/').every((part) => !part.startsWith('.') && !part.endsWith('.lock'));
}

export const ref: TextShape = {
  words:
    'the name of a branch, a tag or a remote as git allows it: refs/heads/…, refs/tags/… or refs/remotes/…',
  fits: (text) => {
    const [, name] = /^refs\/(?:heads|tags|remotes)\/([\s\S]+)$/.exec(text) ?? [];
    return name !== undefined && isRefName(name);
  },
};

/** Without `refs/heads/`. */
export const branch: TextShape = { words: 'the name of a branch as git allows it', fits: isRefName };

export const gitUrl: TextShape = {
  words: 'the URL of a git repository by ssh or https',
  fits: (text) => {
    try {
      return parseGitUrl(text).credentials === undefined;
    } catch {
      return false;
    }
  },
};

export function isDockerfile(path: string): boolean {
  return /(^|\/)([^/]*\.)?Dockerfile$/.test(path);
}

/** `owner/name`, or at GitLab `group/subgroup/name`. */
export function isRepositoryPath(text: string): boolean {
  return (
    text.length <= 512 &&
    /^[^\s/?#%\\]+(\/[^\s/?#%\\]+)+$/.test(text) &&
    text.split('/').every((part) => part !== '.' && part !== '..')
  );
}
