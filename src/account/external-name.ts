import { isNamespace } from '../model/repository-name.ts';

const longest = 60;

/** A user name made of what somebody is called elsewhere: `Kim.Ö'Neil@example.com` becomes `kim.o-neil`. */
export function userNameLike(name: string): string {
  const [local = ''] = name.slice(0, 500).split('@');
  const made = local
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    // What stands between letters and digits is one character.
    .replace(/[._-]{2,}/g, '-')
    .slice(0, longest)
    .replace(/^[._-]+|[._-]+$/g, '');
  return isNamespace(made) ? made : `user${made === '' ? '' : `-${made}`}`;
}
